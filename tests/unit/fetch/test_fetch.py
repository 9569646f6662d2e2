"""scripts/fetch against a folder, a local web server that breaks off, wrong bytes, and no network at all."""
import contextlib
import hashlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
FETCH = ROOT / "scripts" / "fetch"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def zipped(files):
    pack = io.BytesIO()
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return pack.getvalue()


DEV, TRAIN = b"sentence\tlabel\nfine\t1\n", b"sentence\tlabel\n" + b"so so \t0\n" * 50000
ARCHIVE = zipped({"TOY/dev.tsv": DEV, "TOY/train.tsv": TRAIN, "TOY/original/dev.tsv": b"not this one",
                  "../../escape.tsv": b"nor this", "__MACOSX/TOY/._dev.tsv": b"nor this"})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ARCHIVE at /glue/TOY.zip with ranges; /short/... breaks off in the middle of whatever is asked for."""

    asked = []

    def do_GET(self):
        Handler.asked.append((self.path, self.headers.get("Range")))
        if not self.path.endswith("/glue/TOY.zip"):
            self.send_error(404)
            return
        body, begin = ARCHIVE, 0
        if self.headers.get("Range"):
            begin = int(self.headers["Range"].split("=")[1].split("-")[0])
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        end = (begin + len(body)) // 2 if self.path.startswith("/short") else len(body)
        self.wfile.write(body[begin:end])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def web_server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Handler.asked.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class FetchTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.at = pathlib.Path(self.folder.name)
        self.to, self.mirror, self.baselines = self.at / "data", self.at / "mirror", self.at / "baselines"
        self.mirror.mkdir()
        self.baselines.mkdir()
        self.write_catalogue("http://127.0.0.1:9/glue/TOY.zip")  # the port of nobody

    def write_catalogue(self, url, **more):
        one = {"name": "glue/toy", "folder": "glue/TOY", "terms": "none", "files": {"dev.tsv": sha256(DEV), "train.tsv": None},
               "downloads": [{"url": url, "bytes": len(ARCHIVE), "sha256": sha256(ARCHIVE)}], **more}
        (self.at / "catalogue.json").write_text(json.dumps({"sets": [one]}))

    def fetch(self, *arguments, env=None):
        command = [sys.executable, FETCH, "--catalogue", self.at / "catalogue.json", "--baselines", self.baselines]
        if env is None:
            command += ["--to", self.to]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "no_proxy": "*", **(env or {})})

    def expect(self, done, code, part):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(part, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def expect_files(self):
        self.assertEqual((self.to / "glue/TOY/dev.tsv").read_bytes(), DEV)
        self.assertEqual((self.to / "glue/TOY/train.tsv").read_bytes(), TRAIN)
        self.assertEqual(sorted(p.name for p in self.to.iterdir()), ["glue"])  # nothing is left lying about
        self.assertFalse(list(self.at.glob("**/escape.tsv")))

    def expect_nothing(self):
        self.assertFalse((self.to / "glue/TOY/dev.tsv").exists())

    def test_archive_in_a_folder(self):
        (self.mirror / "TOY.zip").write_bytes(ARCHIVE)
        self.expect(self.fetch("glue/toy", "--from", self.mirror), 0, "2 files in")
        self.expect_files()
        self.assertTrue((self.mirror / "TOY.zip").exists())
        self.expect(self.fetch("GLUE", "--from", self.mirror), 0, "here already")

    def test_changed_file_is_fetched_again(self):
        (self.mirror / "TOY.zip").write_bytes(ARCHIVE)
        self.fetch("glue", "--from", self.mirror)
        (self.to / "glue/TOY/dev.tsv").write_bytes(b"changed")
        self.expect(self.fetch("glue", "--from", self.mirror), 0, "2 files in")
        self.expect_files()

    def test_archive_by_suite_wins_over_a_namesake(self):
        (self.mirror / "glue").mkdir()
        (self.mirror / "glue/TOY.zip").write_bytes(ARCHIVE)
        (self.mirror / "TOY.zip").write_bytes(b"another suite's")
        self.expect(self.fetch("glue", "--from", self.mirror), 0, "2 files in")

    def test_corrupt_archive(self):
        (self.mirror / "TOY.zip").write_bytes(ARCHIVE[:-1] + b"?")
        self.expect(self.fetch("glue", "--from", self.mirror), 1, "is not what it should be: SHA-256")
        self.expect_nothing()

    def test_archive_that_is_no_zip(self):
        self.write_catalogue("http://127.0.0.1:9/glue/TOY.zip", downloads=[
            {"url": "http://127.0.0.1:9/TOY.zip", "bytes": 4, "sha256": sha256(b"text")}])
        (self.mirror / "TOY.zip").write_bytes(b"text")
        self.expect(self.fetch("glue", "--from", self.mirror), 1, "not a readable zip file")
        self.expect_nothing()

    def test_unpacked_folder(self):
        (self.mirror / "glue/TOY").mkdir(parents=True)
        (self.mirror / "glue/TOY/dev.tsv").write_bytes(DEV)
        (self.mirror / "glue/TOY/train.tsv").write_bytes(TRAIN)
        self.expect(self.fetch("glue", "--from", self.mirror), 0, "train.tsv: no hash on record")
        self.expect_files()

    def test_corrupt_unpacked_file(self):
        (self.mirror / "glue/TOY").mkdir(parents=True)
        (self.mirror / "glue/TOY/dev.tsv").write_bytes(DEV + b"x\t1\n")
        self.expect(self.fetch("glue", "--from", self.mirror), 1, "dev.tsv is not what it should be")
        self.expect_nothing()

    def test_empty_mirror(self):
        self.expect(self.fetch("glue", "--from", self.mirror), 1, "holds neither glue/TOY.zip nor TOY.zip")
        self.expect(self.fetch("glue", "--from", self.at / "nowhere"), 2, "no such folder")

    def test_web_mirror(self):
        with web_server() as url:
            self.expect(self.fetch("glue", "--from", url), 0, "2 files in")
        self.expect_files()

    def test_official_address(self):
        with web_server() as url:
            self.write_catalogue(f"{url}/glue/TOY.zip")
            self.expect(self.fetch("glue/toy"), 0, "2 files in")
        self.expect_files()

    def test_not_on_the_server(self):
        with web_server() as url:
            self.expect(self.fetch("glue", "--from", f"{url}/elsewhere/x"), 0, "2 files in")  # any path of the handler
            self.write_catalogue(f"{url}/glue/GONE.zip")
            self.expect(self.fetch("glue", "--force"), 1, "the server answers 404")

    def test_resumes_where_it_broke_off(self):
        with web_server() as url:
            self.write_catalogue(f"{url}/short/glue/TOY.zip")
            self.expect(self.fetch("glue"), 1, "the same command goes on from there")
            self.expect_nothing()
            part = self.to / ".fetch/glue/TOY.zip.part"
            self.assertEqual(part.read_bytes(), ARCHIVE[:len(ARCHIVE) // 2])
            self.write_catalogue(f"{url}/glue/TOY.zip")
            self.expect(self.fetch("glue"), 0, "going on at")
            self.assertEqual(Handler.asked[-1][1], f"bytes={len(ARCHIVE) // 2}-")
        self.expect_files()

    def test_corrupt_part_is_thrown_away(self):
        (self.to / ".fetch/glue").mkdir(parents=True)
        part = self.to / ".fetch/glue/TOY.zip.part"
        part.write_bytes(b"?" * 100)
        with web_server() as url:
            self.write_catalogue(f"{url}/glue/TOY.zip")
            self.expect(self.fetch("glue"), 1, "is not what it should be")
            self.assertFalse(part.exists())
            self.expect(self.fetch("glue"), 0, "2 files in")
        self.expect_files()

    def test_no_network(self):
        self.expect(self.fetch("glue"), 1, "cannot reach 127.0.0.1:9")
        self.expect(self.fetch("glue"), 1, "--from DIR")
        self.expect_nothing()

    def test_zeb_data_is_the_destination(self):
        (self.mirror / "TOY.zip").write_bytes(ARCHIVE)
        done = self.fetch("glue", "--from", self.mirror, env={"ZEB_DATA": str(self.to)})
        self.expect(done, 0, "2 files in")
        self.expect_files()

    def test_usage(self):
        self.expect(self.fetch(), 2, "say what to get")
        self.expect(self.fetch("glue/nothing"), 2, 'nothing is called "glue/nothing"')
        self.expect(self.fetch("--list"), 0, "glue/toy")
        self.expect(self.fetch("--help"), 0, "Examples:")

    def test_mrpc_is_made_from_its_parts(self):
        header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
        train = (header + "1\t11\t12\tA \u2028 line.\tB.\r\n0\t21\t22\t\"C.\tD.\r\n").encode()
        test = (header + "1\t31\t32\tE.\tF.\r\n").encode()
        parts = {"msr_paraphrase_train.txt": train, "msr_paraphrase_test.txt": test, "mrpc_dev_ids.tsv": b"21\t22\n"}
        for name, data in parts.items():
            (self.mirror / name).write_bytes(data)
        self.write_catalogue("", make="mrpc", files={"train.tsv": None, "dev.tsv": None, "test.tsv": None}, downloads=[
            {"url": f"http://127.0.0.1:9/{n}", "bytes": len(d), "sha256": sha256(d)} for n, d in parts.items()])
        self.expect(self.fetch("glue", "--from", self.mirror), 0, "3 files in")
        folder = self.to / "glue/TOY"
        self.assertEqual((folder / "train.tsv").read_bytes(), (header + "1\t11\t12\tA \u2028 line.\tB.\r\n").encode())
        self.assertEqual((folder / "dev.tsv").read_bytes(), (header + "0\t21\t22\t\"C.\tD.\r\n").encode())
        self.assertEqual((folder / "test.tsv").read_text(),
                         "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t31\t32\tE.\tF.\n")

    def make_card(self, **more):
        folder = self.baselines / "tiny"
        folder.mkdir(exist_ok=True)
        card = {"files": {"config.json": {"sha256": sha256(b"{}"), "bytes": 2}}, "licence": "Apache-2.0", **more}
        (folder / "card.json").write_text(json.dumps(card))
        return folder

    def test_checkpoint_from_a_folder(self):
        folder = self.make_card()
        self.expect(self.fetch("baselines/tiny"), 1, "is missing, and the card has no address")
        (self.mirror / "tiny").mkdir()
        (self.mirror / "tiny/config.json").write_bytes(b"[]")
        self.expect(self.fetch("baselines", "--from", self.mirror), 1, "is not what it should be")
        self.assertFalse((folder / "config.json").exists())
        (self.mirror / "tiny/config.json").write_bytes(b"{}")
        self.expect(self.fetch("baselines", "--from", self.mirror), 0, "1 fetched")
        self.assertEqual((folder / "config.json").read_bytes(), b"{}")
        self.expect(self.fetch("baselines"), 0, "1 files as on the card")
        (folder / "config.json").write_bytes(b"{ }")
        self.expect(self.fetch("baselines"), 1, "differs from its card")
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["card.json", "config.json"])

    def test_card_cannot_lead_out_of_its_folder(self):
        self.make_card(files={"../evil": {"sha256": sha256(b"{}")}})
        self.expect(self.fetch("baselines", "--from", self.mirror), 1, 'names a file "../evil"')

    def test_the_catalogue_is_whole(self):
        sets = json.loads((ROOT / "suites/catalogue.json").read_text())["sets"]
        self.assertEqual(len({one["name"] for one in sets}), len(sets))
        for one in sets:
            for want in one["downloads"]:
                self.assertRegex(want["sha256"], "^[0-9a-f]{64}$")
                self.assertGreater(want["bytes"], 1000)
                self.assertTrue(want["url"].startswith("https://"))
        shipped = ROOT / "suites/data/glue/SST-2/dev.tsv"
        expected = next(one for one in sets if one["name"] == "glue/sst2")["files"]["dev.tsv"]
        self.assertEqual(sha256(shipped.read_bytes()), expected)


if __name__ == "__main__":
    unittest.main()
