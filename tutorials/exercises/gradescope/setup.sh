#!/bin/bash
# Zip this folder's two files together with a copy of the repository, as the folder minilora/.
apt-get update && apt-get install -y python3-pip
pip install --break-system-packages /autograder/source/minilora
