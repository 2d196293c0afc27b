"""Print rules.yaml as the PrometheusRule that the Prometheus Operator reads.

python deploy/prometheus/as_prometheus_rule.py > deploy/kubernetes/components/monitoring/prometheusrule.yaml
"""

import sys
from pathlib import Path
from textwrap import indent

HEAD = """\
# Made from deploy/prometheus/rules.yaml by as_prometheus_rule.py beside it: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: errata
spec:
"""

sys.stdout.write(HEAD + indent((Path(__file__).parent / "rules.yaml").read_text(encoding="utf-8"), "  "))
