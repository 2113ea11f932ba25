"""OpenAI's agents SDK: an agent with a tool and a structured output, over responses and over chat completions."""

import asyncio
import sys
from importlib.metadata import version

import agents
import openai
import pydantic


class Report(pydantic.BaseModel):
    city: str
    degrees: int


@agents.function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    assert city == "Köln"
    return "21 degrees"


async def main() -> None:
    client = openai.AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    agents.set_tracing_disabled(True)
    models = {
        "responses": agents.OpenAIResponsesModel("toy", client),
        "chat": agents.OpenAIChatCompletionsModel("toy", client),
    }
    for name, model in models.items():
        agent = agents.Agent(name="a", instructions="You help.", model=model, tools=[weather])
        result = await agents.Runner.run(agent, "Is it warm in Köln?")
        assert result.final_output == "It is warm in Köln.", result.final_output
        streamed = agents.Runner.run_streamed(agent, "Is it warm in Köln?")
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output == "It is warm in Köln.", streamed.final_output
        print(f"{name}: call, result, answer; whole and streamed")
        reporter = agents.Agent(name="r", instructions="Report.", model=model, output_type=Report, tools=[weather])
        result = await agents.Runner.run(reporter, "Send a report.")
        assert result.final_output == Report(city="Köln", degrees=21), result.final_output
        print(f"{name}: call and structured answer in one run")


if __name__ == "__main__":
    print("openai-agents", version("openai-agents"))
    asyncio.run(main())
