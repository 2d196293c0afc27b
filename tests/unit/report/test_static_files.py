"""Scripts of other projects: their content is the published one, and the policy of pages permits only it."""

import base64
import hashlib
import re
from importlib.resources import files

from service.report.render import content_security_policy
from service.report.static_files import HTMX, STATIC_FILES, read_static_file

# `openssl dgst -sha256` of dist/htmx.min.js in htmx.org-2.0.11.tgz, whose npm integrity is
# sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==
HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def test_htmx_is_the_published_file() -> None:
    content = read_static_file(HTMX.name)

    assert hashlib.sha256(content).hexdigest() == HTMX_SHA256
    assert base64.b64decode(HTMX.sha256).hex() == HTMX_SHA256


def test_the_table_lists_all_files() -> None:
    folder = files("service.report") / "templates" / "vendor"

    assert {file.name for file in folder.iterdir()} == {*STATIC_FILES}


def test_pages_of_the_site_may_run_htmx_and_stand_alone_files_may_not() -> None:
    (scripts,) = re.findall("script-src ([^;]*)", content_security_policy(site=True))

    assert f"'{HTMX.integrity}'" in scripts.split()
    assert HTMX.integrity not in content_security_policy(site=False)
