"""instructor: structured answers in its modes, whole and streamed."""

import sys
from importlib.metadata import version

import instructor
import openai
import pydantic


class Report(pydantic.BaseModel):
    city: str
    degrees: int


def main() -> None:
    sdk = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON, instructor.Mode.JSON_SCHEMA, instructor.Mode.MD_JSON):
        client = instructor.from_openai(sdk, mode=mode)
        asked = {"model": "toy", "messages": [{"role": "user", "content": "Send a report."}], "max_retries": 0}
        report = client.chat.completions.create(response_model=Report, **asked)
        assert (report.city, report.degrees) == ("Köln", 21), report
        if mode is not instructor.Mode.MD_JSON:
            *_, last = client.chat.completions.create_partial(response_model=Report, **asked)
            assert (last.city, last.degrees) == ("Köln", 21), last
        print(f"structured answer by {mode.name}")


if __name__ == "__main__":
    print("instructor", version("instructor"))
    main()
