# The lessons and the shell in a container, in the tested versions, as a user who is not root:
#   docker build -t yoda-nb .                           PyTorch for CPUs
#   docker build -t yoda-nb --build-arg TORCH=cu126 .   PyTorch for CUDA; run it with --gpus all
#   docker run --rm -p 127.0.0.1:8888:8888 yoda-nb      JupyterLab; the address with its token is printed
#   docker run --rm -p 8866:8866 yoda-nb yoda-nb class  a class: tell it this machine's address, with the token
#   docker run --rm -v "$PWD:/data" yoda-nb yoda-nb translate --t1 /data/t1.nii.gz --t2 /data/t2.nii.gz -o /data/out.nii.gz
FROM python:3.11-slim

ARG TORCH=cpu
WORKDIR /opt/yoda-nb

# What changes rarely comes first: a change of the package installs no PyTorch again.
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/${TORCH} torch

COPY pyproject.toml hatch_build.py README.md LICENSE claims.csv data_manifest.csv ./
COPY notebooks ./notebooks
COPY yoda_nb ./yoda_nb
COPY yoda_papers ./yoda_papers
RUN pip install --no-cache-dir -c constraints.txt '.[scans]'

RUN useradd --create-home --uid 1000 student
USER 1000
WORKDIR /home/student
RUN yoda-nb notebooks lessons

EXPOSE 8888 8866
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "lessons"]
