"""Training configurations with the paper's recipe: SFT on simple rows, then DPO on complex ones.

10K + 10K rows, 2 epochs, learning rate 2e-5 with a cosine schedule, batches of 8 per device, 4,096
tokens, DPO with beta 0.1 (arXiv 2410.14251).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

BASE = "meta-llama/Meta-Llama-3-8B"
_TRL = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "learning_rate": 2.0e-5,
    "lr_scheduler_type": "cosine",
    "bf16": True,
    "max_length": 4096,
}


def recipes(target: str, files: Mapping[str, str]) -> dict[str, str]:
    """Configuration files for `target` by name, empty where it has none.

    Args:
        files: Per exported file the sort of its rows, `sft` or `dpo`.
    """
    makers = {"trl": _trl, "axolotl": _axolotl, "llama-factory": _llama_factory}
    sorts = {sort: [name for name, s in files.items() if s == sort] for sort in ("sft", "dpo")}
    return makers[target](sorts) if target in makers else {}


def _trl(files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    made: dict[str, Any] = {}
    if files["sft"]:
        made["sft.yaml"] = {
            "model_name_or_path": BASE,
            **_data(files["sft"]),
            "output_dir": "sft",
            **_TRL,
        }
    if files["dpo"]:
        before = "sft" if files["sft"] else BASE
        made["dpo.yaml"] = {
            "model_name_or_path": before,
            **_data(files["dpo"]),
            "output_dir": "dpo",
            **_TRL,
            "beta": 0.1,
        }
    return _dumped(made)


def _data(names: Sequence[str]) -> dict[str, Any]:
    return {"datasets": [{"path": "json", "data_files": name, "split": "train"} for name in names]}


def _axolotl(files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    common = {
        "chat_template": "llama3",
        "sequence_len": 4096,
        "micro_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_epochs": 2,
        "learning_rate": 2.0e-5,
        "lr_scheduler": "cosine",
        "optimizer": "adamw_torch",
        "bf16": "auto",
    }
    made: dict[str, Any] = {}
    if files["sft"]:
        data = [
            {"path": n, "ds_type": "json", "type": "chat_template", "field_messages": "messages"}
            for n in files["sft"]
        ]
        made["sft.yaml"] = {"base_model": BASE, "datasets": data, "output_dir": "sft", **common}
    if files["dpo"]:
        data = [
            {
                "path": n,
                "ds_type": "json",
                "split": "train",
                "type": "chat_template.default",
                "field_messages": "prompt",
                "field_chosen": "chosen",
                "field_rejected": "rejected",
            }
            for n in files["dpo"]
        ]
        before = "sft" if files["sft"] else BASE
        made["dpo.yaml"] = {
            "base_model": before,
            "rl": "dpo",
            "rl_beta": 0.1,
            "datasets": data,
            "output_dir": "dpo",
            **common,
        }
    return _dumped(made)


def _llama_factory(files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    common = {
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": ".",
        "template": "llama3",
        "cutoff_len": 4096,
        "per_device_train_batch_size": 8,
        "learning_rate": 2.0e-5,
        "num_train_epochs": 2.0,
        "lr_scheduler_type": "cosine",
        "bf16": True,
    }
    made: dict[str, Any] = {}
    for stage, extra in (("sft", {}), ("dpo", {"pref_beta": 0.1, "pref_loss": "sigmoid"})):
        if files[stage]:
            names = ",".join(name.removesuffix(".jsonl") for name in files[stage])
            before = "sft" if stage == "dpo" and files["sft"] else BASE
            options = {
                "model_name_or_path": before,
                "stage": stage,
                "dataset": names,
                "output_dir": stage,
            }
            made[f"{stage}.yaml"] = options | common | extra
    return _dumped(made)


def dataset_info(files: Mapping[str, str]) -> dict[str, Any]:
    """LLaMA-Factory's `dataset_info.json` for these files."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    info: dict[str, Any] = {}
    for name, sort in files.items():
        columns = {"messages": "messages"}
        entry: dict[str, Any] = {
            "file_name": name,
            "formatting": "sharegpt",
            "columns": columns,
            "tags": tags,
        }
        if sort == "dpo":
            columns |= {"chosen": "chosen", "rejected": "rejected"}
            entry["ranking"] = True
        info[name.removesuffix(".jsonl")] = entry
    return info


def _dumped(made: Mapping[str, Any]) -> dict[str, str]:
    return {name: yaml.safe_dump(config, sort_keys=False) for name, config in made.items()}
