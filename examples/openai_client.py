"""Stream an answer from a drafter with the `openai` package, and show how it came about.

goodspeed up --clients 1
python examples/openai_client.py http://127.0.0.1:8000 "Write a limerick about a fast postman."
"""

import sys

from openai import OpenAI


def main(url: str, question: str) -> None:
    client = OpenAI(base_url=f"{url}/v1", api_key="none")  # or the drafter's --api-key
    stream = client.chat.completions.create(
        model="default",
        messages=[{"role": "user", "content": question}],
        max_tokens=64,
        temperature=0.7,
        seed=1,  # the same seed gives the same text, whatever is drafted
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        if chunk.usage:
            details = (chunk.model_extra or {})["goodspeed"]
            print(f"\n\n{chunk.usage.completion_tokens} tokens in {details['rounds']} rounds")
            modes = ("remote", "co_located", "target_only")
            print("rounds by mode: " + ", ".join(f"{details[f'{mode}_rounds']} {mode}" for mode in modes))
            print(f"accepted {details['accepted']} of {details['proposed']} draft tokens of the drafter,")
            print(f"{details['co_located_accepted']} of {details['co_located']} of the verifier's own")
            if "speed_up" in details:
                print(f"estimated speed-up over the target-only baseline: {details['speed_up']:.2f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["http://127.0.0.1:8000", "Write a limerick about a fast postman."]))
