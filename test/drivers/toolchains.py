"""How the programs of each language are fetched, built and started. What is downloaded lies in the cache, what is built in
`build/drivers`; programs that Debian has come by apt.

`fetch` needs a registry and raises Unreachable when it answers nothing; a build that fails is a failure.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

from support.kafka import JAVA, KAFKA_HOME
from support.process import TOP

GUIDE = TOP / "sql/guide/drivers"
HERE = Path(__file__).resolve().parent
BUILD = TOP / "build/drivers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pg_once/drivers"
PYTHON = "/usr/bin/python3"


class Unreachable(Exception):
    """The registry of a language, or its programs, cannot be had here."""


def call(*words, **options):
    """To its end; what it says is shown when it fails."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout[-3000:]}")


def download(*words, **options):
    try:
        call(*words, **options)
    except (RuntimeError, FileNotFoundError) as error:
        raise Unreachable(str(error)) from error


def install(program, *packages):
    """Debian's packages, unless the program is there."""
    if shutil.which(program) is None:
        root = [] if os.getuid() == 0 else ["sudo", "-n"]
        download(*root, "apt-get", "-q", "update")
        download(*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", "--no-install-recommends", "install", *packages)


class Language:
    env = {}
    page, folder, suffix = None, None, None  # the guide's page; where its code is put, and under what names

    def recipe_file(self, driver):
        return self.folder / f"recipe_{re.sub(r'[^a-z]+', '_', driver.lower())}{self.suffix}"

    def write_recipes(self):
        """The code of the page, where the programs find it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = (GUIDE / self.page).read_text(encoding="utf-8")
        for driver in re.findall(r"^## (.*)$", text, re.M):
            section = re.search(rf"^## {re.escape(driver)}$(.*?)(?=^## |\Z)", text, re.M | re.S)
            code = re.search(r"^```[a-z]+\n(.*?)^```", section[1], re.M | re.S)
            self.recipe_file(driver).write_text(code[1], encoding="utf-8")

    def fetch(self):
        """What a registry has to give."""

    def build(self):
        """What has to be compiled."""

    def fetched(self, folder, *manifests):
        """Whether the cache has what these manifests ask for; `remember` says that it has now."""
        return (folder / "manifest").exists() and (folder / "manifest").read_text() == self.asked(manifests)

    def remember(self, folder, *manifests):
        (folder / "manifest").write_text(self.asked(manifests))

    @staticmethod
    def asked(manifests):
        return "".join(file.read_text() for file in manifests)


class Debian(Language):
    """Python's drivers that Debian packages."""
    page, folder, suffix = "python.md", BUILD / "python", ".py"

    def command(self, driver, plan):
        return [PYTHON, "-B", HERE / "python/driver.py", driver, plan]


class Python(Debian):
    """Those of PyPI."""
    packages = CACHE / "python"
    env = {"PYTHONPATH": str(packages)}

    def fetch(self):
        manifest = HERE / "python/requirements.txt"
        if not self.fetched(self.packages, manifest):
            install("pip3", "python3-pip")
            shutil.rmtree(self.packages, ignore_errors=True)
            download(PYTHON, "-m", "pip", "-q", "install", "--root-user-action", "ignore", "--target", self.packages, "-r", manifest)
            self.remember(self.packages, manifest)


class Java(Language):
    page, folder, suffix = "java.md", BUILD / "java/recipes", ".java"
    jars = CACHE / "java"

    def fetch(self):
        manifest = HERE / "java/pom.xml"
        if not self.fetched(self.jars, manifest):
            shutil.rmtree(self.jars, ignore_errors=True)
            download("mvn", "-q", "-B", "-f", manifest, "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
                     f"-DoutputDirectory={self.jars}")
            self.remember(self.jars, manifest)

    @property
    def classpath(self):
        return f"{BUILD / 'java'}:{self.jars}/*:{KAFKA_HOME}/libs/*"  # Jackson and a logger are the broker's

    def build(self):
        call("javac", "-encoding", "UTF-8", "-d", BUILD / "java", "-cp", self.classpath,
             *sorted((HERE / "java").glob("*.java")), *sorted(self.folder.glob("*.java")))

    def command(self, driver, plan):
        return [*JAVA, "-XX:TieredStopAtLevel=1", "-cp", self.classpath, "Driver", driver, plan]


LANGUAGES = {"Debian": Debian(), "Python": Python(), "Java": Java()}
