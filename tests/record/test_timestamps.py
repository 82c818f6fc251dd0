"""Time stamps from a real authority: OpenSSL's, behind an HTTP server of the test's."""

import shutil
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crystalseg.record import ledger, timestamps
from crystalseg.record.anchors import anchor, anchors_in, check
from crystalseg.record.database import open_database
from crystalseg.record.timestamps import StampError
from crystalseg.report.html import build_html
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import report_of
from crystalseg.report.workbook import build_workbook
from tests.report.report_cases import case

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
CONFIGURATION = """[req]
distinguished_name = name
[name]
[tsa]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[stamps]
serial = serial
default_policy = 1.2.3.4
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Its address and folder, in which are `ca.pem` and, of another, `other.pem`."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "tsa.cnf").write_text(CONFIGURATION)
    (folder / "serial").write_text("01")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "rsa:2048", "-nodes", "-config", "tsa.cnf"]
    for name in ("ca", "other"):
        names = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", *new, "-extensions", "ca", *names)
    openssl("req", *new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "tsa.cnf", "-extensions", "tsa"]
    openssl("x509", "-req", "-in", "tsa.csr", *signing, "-out", "tsa.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            signer = ["-signer", "tsa.pem", "-inkey", "tsa.key"]
            openssl(
                "ts",
                "-reply",
                "-config",
                "tsa.cnf",
                "-section",
                "stamps",
                "-queryfile",
                "query",
                *signer,
                "-out",
                "reply",
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write((folder / "reply").read_bytes())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()


@pytest.fixture
def stamping(authority, monkeypatch):
    address, folder = authority
    monkeypatch.setenv("CRYSTALSEG_TIMESTAMP_URL", address)
    monkeypatch.setenv("CRYSTALSEG_TIMESTAMP_ROOTS", str(folder / "ca.pem"))
    return folder


def test_a_token_is_of_its_data_its_time_and_its_signer(stamping, monkeypatch):
    token = timestamps.stamp(b"data")
    assert timestamps.check(token, b"data").startswith("20")
    with pytest.raises(StampError, match="belongs to other data"):
        timestamps.check(token, b"other data")
    with pytest.raises(StampError, match="cannot be read"):
        timestamps.check(token[:400], b"data")
    monkeypatch.setenv("CRYSTALSEG_TIMESTAMP_ROOTS", str(stamping / "other.pem"))
    with pytest.raises(StampError, match="do not vouch for the signer"):
        timestamps.check(token, b"data")
    monkeypatch.delenv("CRYSTALSEG_TIMESTAMP_ROOTS")
    assert timestamps.check(token, b"data").endswith("signer not checked")


@pytest.mark.parametrize(("build", "carries"), [(build_pdf, True), (build_html, True), (build_workbook, False)])
def test_a_report_carries_the_time_stamp_of_the_records_end(stamping, build, carries):
    engine = open_database()
    ledger.append(engine, "run", "r1", {})
    micrograph, found, measurement, run = case()
    report = replace(report_of(micrograph, found, measurement, run, None), anchor=anchor(engine))
    data = build(report)
    (held,) = anchors_in(data)
    assert bool(held.token) is carries
    assert bool(held.stamped()) is carries
    assert list(check(engine, data)) == []


def test_another_anchors_time_stamp_is_false(stamping):
    engine = open_database()
    ledger.append(engine, "run", "r1", {})
    first = anchor(engine)
    ledger.append(engine, "run", "r2", {})
    moved = replace(anchor(engine), token=first.token)
    assert list(check(engine, str(moved).encode())) == ["The time stamp belongs to other data."]


@pytest.mark.parametrize("url", ["http://time stamps/", "time stamps", "http://[/"])
def test_an_address_that_cannot_be_asked_is_told_in_a_sentence(url, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_TIMESTAMP_URL", url)
    with pytest.raises(StampError, match="did not answer"):
        timestamps.stamp(b"data")


def test_a_server_that_does_not_answer_stops_no_report(monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_TIMESTAMP_URL", "http://127.0.0.1:9")
    micrograph, found, measurement, run = case()
    made = anchor(open_database())
    assert made.token == ""
    html = build_html(replace(report_of(micrograph, found, measurement, run, None), anchor=made))
    assert "There is no time stamp, because the time-stamp server did not answer." in html.decode()
