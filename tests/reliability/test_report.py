import json

from reliability.report import EXPERIMENTS, PAGE, markdown


def test_page_is_what_the_files_say():
    """`python -m reliability report` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_figures_become_tables_and_missing_experiments_are_named(tmp_path):
    found = {
        "command": "python -m reliability soak",
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {"cores": 2, "processor": "some"},
        "results": {"lost_answers": 0, "over_time": [{"minute": 1, "rss_mb": 400.25}, {"minute": 2, "of": "a|b"}]},
    }
    (tmp_path / "soak.json").write_text(json.dumps(found), encoding="utf-8")
    page = markdown(tmp_path)
    assert "    python -m reliability soak" in page
    assert "| lost answers | 0 |" in page
    assert "| 1 | 400.2 | – |" in page
    assert "| 2 | – | a\\|b |" in page
    assert page.count("Not measured yet.") == len(EXPERIMENTS) - 1
