"""``delg search FOLDER PHOTO...`` and ``delg sync FOLDER``."""

import csv
import json
import subprocess
import sys

from extraction.formats.table import open_features
from tests.collection.conftest import MODEL
from tests.extraction.pictures import write_picture
from tests.processes import run


def test_one_command_finds_a_photo_and_writes_the_page(photos, tmp_path):
    query = write_picture(tmp_path / "query.png", 120, 160, 3)
    done = run("search", str(photos), str(query), f"--model={MODEL}", "--top_k=2")
    assert done.returncode == 0, done.stderr
    assert str(photos / "3.png") in done.stdout.splitlines()[2]
    page = (photos / ".delg" / "search.html").read_text()
    assert "3.png" in page and "data:image/jpeg" in page and "inliers" in page


def test_the_forms_of_the_output_agree(photos, tmp_path):
    queries = tmp_path / "queries"
    for seed in (2, 4):
        write_picture(queries / f"{seed}.png", 120, 160, seed)
    flags = f"--model={MODEL}", "--top_k=2"
    documents = json.loads(run("search", str(photos), str(queries), *flags, "--format=json").stdout)
    assert [one["results"][0]["path"] for one in documents] == ["2.png", "4.png"]
    rows = list(csv.DictReader(run("search", str(photos), str(queries), *flags, "--format=csv").stdout.splitlines()))
    assert [row["photo"] for row in rows] == [one["file"] for doc in documents for one in doc["results"]]
    assert [int(row["inliers"]) for row in rows] == [one["inliers"] for doc in documents for one in doc["results"]]


def test_sync_prints_what_has_changed(photos, tmp_path):
    place = f"--collection={tmp_path / 'state'}"
    assert "8 added" in run("sync", str(photos), f"--model={MODEL}", place).stdout
    (photos / "1.png").unlink()
    (photos / "bad.png").write_bytes(b"no image")
    dry = run("sync", str(photos), place, "--dry_run").stdout
    assert "removed: 1.png" in dry and "added: bad.png" in dry
    done = run("sync", str(photos), place, f"--export={tmp_path / 'store'}").stdout
    assert "1 removed" in done and "failed: bad.png" in done and "7 photos" in done
    assert len(open_features(tmp_path / "store")) == 7
    assert not (photos / ".delg").exists()


def test_without_sync_a_search_says_that_the_folder_has_changed(photos):
    assert run("sync", str(photos), f"--model={MODEL}").returncode == 0
    write_picture(photos / "new.png", 120, 160, 60)
    done = run("search", str(photos), str(photos / "new.png"), "--nosync", "--rerank=none")
    assert done.returncode == 0 and "1 added" in done.stderr and "new.png" not in done.stdout.split("photos\n")[1]


def test_wrong_arguments_are_one_sentence(photos, tmp_path):
    for arguments in (
        ["search", str(photos)],
        ["search", str(tmp_path / "absent"), "a.png"],
        ["search", str(photos), str(tmp_path / "absent.png"), f"--model={MODEL}"],
        ["search", str(photos), "a.png", "--features_dir=x"],
        ["search", str(photos), "1.png", "2.png", f"--output={tmp_path / 'page.html'}"],
        ["sync"],
        ["sync", str(photos), str(photos)],
    ):
        done = run(*arguments)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"delg-{arguments[0]}: ")


def test_the_completion_is_a_script_that_names_the_commands():
    done = subprocess.run([sys.executable, "-m", "delg", "completion"], capture_output=True, text=True, check=True)
    assert "search" in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


def test_the_completion_keeps_file_names_with_spaces_whole(tmp_path):
    (tmp_path / "my photos").mkdir()
    script = subprocess.run([sys.executable, "-m", "delg", "completion"], capture_output=True, text=True, check=True)
    ask = 'COMP_WORDS=(delg {}); COMP_CWORD={}; _delg; printf "%s\\n" "${{COMPREPLY[@]}}"'
    for words, place, wanted in (("search my", 2, ["my photos"]), ("se", 1, ["search", "serve"])):
        code = f"{script.stdout}\n{ask.format(words, place)}"
        done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == wanted
