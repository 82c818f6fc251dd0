import subprocess
import sys

# report_cases imports build_pdf, which is hidden, so that this process sees HTML first
FRESH = """
import sys, types
sys.modules["crystalseg.report.pdf"] = types.SimpleNamespace(build_pdf=None)
from tests.report.report_cases import case
from crystalseg.report.html import build_html
from crystalseg.report.report import Details, report_of
page = build_html(report_of(*case(), None, Details())).decode()
assert page.count("<svg") >= 2
"""


def test_a_fresh_process_can_begin_with_html():
    """Charts need the fonts, which once only the PDF made known."""
    subprocess.run([sys.executable, "-c", FRESH], check=True)
