"""Event logs as files."""

import json
from pathlib import Path

from goodspeed.records.event_log import FORMAT, EventFanOut, JsonlEventLog, NullEventSink, read_events, write_start


def test_a_log_is_appended_to_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    for run in range(2):
        log = JsonlEventLog(path)
        write_start(EventFanOut([log, NullEventSink()]), 0.5, {"run": run})
        log.write("time", 1.5, {"decision": None})
        log.close()
    with path.open(encoding="utf-8") as file:
        events = list(read_events(file))
    assert [number for number, _ in events] == [1, 2, 3, 4]
    assert events[2][1] == {"event": "start", "now": 0.5, "format": FORMAT, "run": 1}
    assert json.loads(path.read_text().splitlines()[1]) == {"event": "time", "now": 1.5, "decision": None}
