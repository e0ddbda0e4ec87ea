"""Run as a script: go on training the tiny task on a number of CPU processes. Usage: ddp_worker.py RUN DEVICES."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_task import CONFIG, TinyTask

from pacx.training.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    train(TinyTask(dropout=0.0), replace(CONFIG, devices=int(sys.argv[2])), Path(sys.argv[1]), resume=True)
