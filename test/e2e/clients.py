# SPDX-License-Identifier: Apache-2.0
"""clients.py URL HF_FOLDER TASK_FILE BIASES: what test_clients.py runs in the environment of scripts/requirements-clients.txt. Prints
a JSON object of what each client got."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

URL, FOLDER, TASK, SOON = sys.argv[1] + "/v1", *sys.argv[2:4], json.loads(sys.argv[4])
HELLO = [{"role": "user", "content": "hello"}]
PROMPT = "The process opens"
FIELDS = {"max_tokens": 12, "temperature": 0}


def schema_model():
    import typing

    import pydantic

    class Move(pydantic.BaseModel):
        """A move."""
        where: typing.Literal["up", "down"]
        steps: int = pydantic.Field(ge=1, le=9)

    return Move


def with_litellm():
    import litellm
    litellm.drop_params = False
    ask = lambda **more: litellm.completion(model="openai/m", api_base=URL, api_key="x", messages=HELLO, **FIELDS | more)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True))
    try:
        ask(temperature=1000)
        error = None
    except litellm.BadRequestError as refused:
        error = str(refused)
    tools = ask(max_tokens=400, logit_bias=SOON, tool_choice="required", tools=[{"type": "function", "function": {
        "name": "move", "parameters": schema_model().model_json_schema()}}])
    return {"text": ask().choices[0].message.content, "streamed": streamed, "error": error,
            "call": json.loads(tools.choices[0].message.tool_calls[0].function.arguments)}


def with_langchain():
    from langchain_openai import ChatOpenAI
    chat = ChatOpenAI(base_url=URL, api_key="x", model="m", max_retries=0, **FIELDS)
    move = schema_model()
    made = ChatOpenAI(base_url=URL, api_key="x", model="m", max_retries=0, max_tokens=400, logit_bias=SOON)
    call = made.bind_tools([move], tool_choice="required").invoke("go").tool_calls[0]
    return {"text": chat.invoke("hello").content, "streamed": "".join(part.content for part in chat.stream("hello")),
            "structured": made.with_structured_output(move, method="json_schema").invoke("go").model_dump(), "call": call["args"]}


def with_instructor():
    import instructor
    import openai
    client = openai.OpenAI(base_url=URL, api_key="x")
    return {mode.name: instructor.from_openai(client, mode=mode).chat.completions.create(
        model="m", messages=HELLO, response_model=schema_model(), max_tokens=400, max_retries=0, logit_bias=SOON).model_dump()
        for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA)}


def with_llm():
    with tempfile.TemporaryDirectory() as home:
        (pathlib.Path(home) / "extra-openai-models.yaml").write_text(f"- model_id: retort\n  model_name: m\n  api_base: {URL}\n")
        run = lambda *more: subprocess.run([pathlib.Path(sys.executable).parent / "llm", "-m", "retort", "hello", "--key", "x", "--no-log",
                                            "-o", "max_tokens", "12", "-o", "temperature", "0", *more],
                                           env=os.environ | {"LLM_USER_PATH": home}, capture_output=True, text=True)
        whole, streamed = run("--no-stream"), run()
        return {"text": whole.stdout, "streamed": streamed.stdout, "errors": whole.stderr + streamed.stderr}


def with_harness():
    import lm_eval
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "questions.yaml").write_text(json.dumps({
            "task": "questions", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": TASK}}, "test_split": "test",
            "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "choices", "doc_to_target": "answer",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}))
        from lm_eval.tasks import TaskManager
        results = lm_eval.simple_evaluate(
            model="local-completions", tasks=["questions"], task_manager=TaskManager(include_path=folder, include_defaults=False),
            model_args={"model": "m", "base_url": URL + "/completions", "tokenizer": FOLDER, "tokenizer_backend": "huggingface",
                        "num_concurrent": 2, "max_length": 1000}, bootstrap_iters=0)["results"]["questions"]
        return {name: results[name + ",none"] for name in ("acc", "acc_norm")}


if __name__ == "__main__":
    got = {}
    for part in (with_litellm, with_langchain, with_instructor, with_llm, with_harness):
        try:
            got[part.__name__.removeprefix("with_")] = part()
        except Exception as error: # told by the test, for each client
            got[part.__name__.removeprefix("with_")] = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(got))
