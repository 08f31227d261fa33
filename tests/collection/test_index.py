"""Large collections: an index gives candidates, and answers follow the folder as without one."""

import pytest

from collection import neighbours
from collection.collection import Collection
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.collection.test_sync import answers, fresh
from tests.extraction.pictures import write_picture

INDEX = "flat"


@pytest.fixture
def many(photos):
    for seed in range(20, 60):
        write_picture(photos / f"{seed}.png", 48, 64, seed)
    return photos


@pytest.mark.parametrize("kind", ["flat", "hnsw", "milvus", "milvus server"])
def test_answers_equal_those_without_an_index_while_photos_change(many, tmp_path, kind, request):
    if kind == "milvus":
        pytest.importorskip("pymilvus")
        kind = f"{tmp_path / 'milvus.db'}#photos"
    if kind == "milvus server":
        kind = f"{request.getfixturevalue('milvus_server')}#photos"
    collection = Collection.open(many, MODEL, state=tmp_path / "state")
    collection.sync(index=kind)
    reader = Collection.open(many, state=tmp_path / "state")
    queries = [write_picture(tmp_path / f"query{seed}.png", 120, 160, seed) for seed in (0, 30)]
    first = answers(reader, queries)
    assert first == answers(fresh(many, tmp_path / "exact"), queries)

    (many / "30.png").unlink()
    (many / "31.png").rename(many / "album" / "x.png")
    write_picture(many / "new.png", 48, 64, 99)
    collection.sync()
    files = {file.name for file in (tmp_path / "state").glob("index-*")}
    assert answers(reader, queries) == answers(fresh(many, tmp_path / "exact"), queries)

    for seed in range(100, 130):
        write_picture(many / f"{seed}.png", 48, 64, seed)
    collection.sync()
    collection.sync()
    assert not files & {file.name for file in (tmp_path / "state").glob("index-*")}, "built anew"
    assert answers(reader, queries) == answers(fresh(many, tmp_path / "exact"), queries)

    collection.sync(index="exact")
    collection.sync()
    assert not list((tmp_path / "state").glob("index-*"))
    assert answers(reader, queries) == answers(fresh(many, tmp_path / "exact"), queries)


def test_a_copy_of_an_indexed_photo_and_many_removed_ones_are_found(many, tmp_path):
    collection = Collection.open(many, MODEL)
    collection.sync(index=INDEX)
    (many / "copy.png").write_bytes((many / "0.png").read_bytes())
    for seed in range(20, 24):
        (many / f"{seed}.png").unlink()
    collection.sync()
    assert [one.path for one in collection.search("0.png", k=2)] == ["0.png", "copy.png"]
    assert len(collection.search("0.png", k=45)) == 45


def test_an_index_is_the_choice_above_a_number_of_photos(many, monkeypatch):
    monkeypatch.setattr(neighbours, "MOST", 40)
    monkeypatch.setattr(neighbours, "LARGE", INDEX)
    collection = Collection.open(many, MODEL)
    collection.sync()
    assert len(list((many / ".delg").glob("index-*.npy"))) == 1
    assert len(collection.search("0.png", k=48)) == 48


def test_an_unknown_kind_is_refused_and_nothing_is_lost(photos):
    collection = Collection.open(photos, MODEL)
    with pytest.raises(InputError, match="nothing"):
        collection.sync(index="nothing")
    assert not len(collection)
    collection.sync()
    assert collection.search("0.png", k=1)[0].path == "0.png"
