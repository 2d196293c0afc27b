"""Print rules.yaml as a PrometheusRule for the Prometheus Operator.

Usage: python deploy/prometheus/as_prometheus_rule.py > deploy/kubernetes/components/monitoring/prometheusrule.yaml

With --runbook-base URL, each alert has a `runbook_url` with this prefix instead of the path `runbook`.
"""

import argparse
import re
import sys
from pathlib import Path
from textwrap import indent

HEAD = """\
# Generated from deploy/prometheus/rules.yaml by as_prometheus_rule.py. Change the source instead.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: errata
spec:
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runbook-base", metavar="URL")
    base = parser.parse_args().runbook_base
    rules = (Path(__file__).parent / "rules.yaml").read_text(encoding="utf-8")
    if base:
        rules = re.sub(r"\brunbook: (?=deploy/)", f"runbook_url: {base.rstrip('/')}/", rules)
    sys.stdout.write(HEAD + indent(rules, "  "))
