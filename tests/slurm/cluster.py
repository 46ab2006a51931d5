"""A real Slurm cluster on one machine: accounting, three nodes, and four GPUs that Slurm believes in.

    python tests/slurm/cluster.py start [FOLDER]    installs Slurm where it is missing (as root, on Debian or Ubuntu)
    python tests/slurm/cluster.py stop [FOLDER]

Every daemon is started and ended by its process id; a start first ends what an earlier one left behind.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

FOLDER = Path("/tmp/sealiency-slurm")
# Job steps drop SLURM_CONF from the environment of the srun within them, so the files are found here as well.
SYSTEM = Path("/etc/slurm")
MARK = "SEALIENCY_TEST_CLUSTER"
PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "mariadb-server-core", "mariadb-client-core")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "mariadb-install-db")
CPU_NODES, GPU_NODES = ("c1",), ("g1", "g2")
GPUS_A_NODE = 2
CORES, MEMORY_MB = 32, 16000
ACCOUNT = "climate"
PORTS = ("slurmctld", "slurmdbd", "mariadbd", *CPU_NODES, *GPU_NODES)

SLURM_CONF = """
ClusterName=sealiency
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A credential lives two minutes by default, and a requeued job waits for as long.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[slurmdbd]}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment
GresTypes=gpu
SlurmdTimeout=10
KillWait={kill_wait}
MinJobAge=600
ReturnToService=2
{nodes}
PartitionName=cpu Nodes={cpu_nodes} Default=YES MaxTime=120 State=UP
PartitionName=gpu Nodes={gpu_nodes} MaxTime=120 State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} RealMemory={memory}{gres} State=UNKNOWN"
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={ports[slurmdbd]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[mariadbd]}
StorageLoc=slurm
StorageUser=root
"""


class ClusterError(Exception):
    """The cluster could not be started; the message says why."""


@dataclass
class Cluster:
    """The daemons of one cluster, in one folder."""

    folder: Path = FOLDER
    ports: dict[str, int] = field(default_factory=dict)
    held: IO[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of whoever uses the cluster, by which they are found again."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), MARK: str(self.folder)}

    def start(self) -> None:
        """Start everything, from nothing, and return when a job could be submitted."""
        install()
        # Held until this process ends: nobody starts a second one over a cluster in use.
        self.held = open(f"{self.folder}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ClusterError(f"{self.folder} is in use by another process") from None
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.ports = dict(zip(PORTS, find_ports(len(PORTS)), strict=True))
        self._configure()
        self._run("munged", "--foreground", "--force", *self._munge_files(), name="munged")
        data = self.folder / "database"
        self._call(
            "mariadb-install-db",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )
        self.start_database()
        self.start_slurmdbd()
        self._wait("accounting", lambda: self._try("sacctmgr", "--noheader", "list", "cluster"))
        user = ["add", "user", "root", f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}"]
        for words in (["add", "cluster", "sealiency"], ["add", "account", ACCOUNT, "Cluster=sealiency"], user):
            self._call("sacctmgr", "--immediate", *words)
        self.start_slurmctld("-c")
        for node in (*CPU_NODES, *GPU_NODES):
            self.start_node(node)
        self._wait("three idle nodes", lambda: self.call("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 3)

    def start_database(self) -> None:
        self._run(
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={self.folder / 'database'}",
            f"--socket={self.folder / 'mariadb.socket'}",
            "--bind-address=127.0.0.1",
            f"--port={self.ports['mariadbd']}",
            "--skip-grant-tables",
            "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=0",
            name="mariadbd",
        )
        self._wait("the database", lambda: (self.folder / "mariadb.socket").exists())

    def start_slurmdbd(self) -> None:
        self._run("slurmdbd", "-D", name="slurmdbd")

    def start_slurmctld(self, *options: str) -> None:
        self._run("slurmctld", "-D", *options, name="slurmctld")
        self._wait("slurmctld", lambda: self._try("scontrol", "ping"))

    def start_node(self, name: str) -> None:
        self._run("slurmd", "-D", "-N", name, name=name)

    def stop(self) -> None:
        """End every daemon of this folder, the jobs of its nodes, and whoever still uses it."""
        for name in (*CPU_NODES, *GPU_NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.kill(name)
        kill_processes(find_processes(f"{MARK}={self.folder}"))
        for path in SYSTEM.glob("*"):
            if path.is_symlink() and self.folder in Path(os.readlink(path)).parents:
                path.unlink()

    def kill(self, name: str) -> None:
        """End one daemon and, for a node, everything that runs on it, as if it lost power."""
        path = self.folder / f"{name}.process"
        if name in (*CPU_NODES, *GPU_NODES):
            # Nobody may be left to tell that a job ended: first the daemon, then those that watch its jobs, then these.
            if path.exists():
                self._end(path, signal.SIGKILL)
            kill_processes(find_writers("slurmstepd", self.folder / f"{name}.log"))
            kill_processes(find_processes(f"SLURMD_NODENAME={name}", f"{MARK}={self.folder}"))
        elif path.exists():
            self._end(path, signal.SIGTERM)

    def _end(self, path: Path, number: int) -> None:
        process, program = path.read_text().split()
        pid = int(process)
        if read_program(pid) == program:
            os.kill(pid, number)
            deadline = time.monotonic() + 20
            while read_program(pid) == program:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        path.unlink()

    def call(self, *command: str) -> str:
        """Return what a command of Slurm says; an error ends the caller."""
        answer = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        if answer.returncode:
            raise ClusterError(f"{' '.join(command)}: {answer.stderr.strip() or answer.stdout.strip()}")
        return answer.stdout.strip()

    def _call(self, *command: str) -> None:
        with open(self.folder / "start.log", "a") as log:
            answer = subprocess.run(command, env=self.environment, stdout=log, stderr=log)
        if answer.returncode:
            raise ClusterError(f"{' '.join(command)} failed: see {self.folder / 'start.log'}")

    def _try(self, *command: str) -> bool:
        return subprocess.run(command, env=self.environment, capture_output=True).returncode == 0

    def _run(self, *command: str, name: str) -> None:
        with open(self.folder / f"{name}.out", "a") as out:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        (self.folder / f"{name}.process").write_text(f"{process.pid} {command[0]}")

    def _wait(self, what: str, condition, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise ClusterError(f"no {what} after {seconds:g} s: see the logs in {self.folder}")
            time.sleep(0.1)

    def _munge_files(self) -> list[str]:
        files = {
            "socket": "munge.socket",
            "log-file": "munged.log",
            "pid-file": "munged.pid",
            "seed-file": "munge.seed",
        }
        return [
            *(f"--{key}={self.folder / name}" for key, name in files.items()),
            f"--key-file={self.folder / 'munge.key'}",
        ]

    def _configure(self) -> None:
        for name in ("state", "spool", "dev"):
            (self.folder / name).mkdir()
        self._write("munge.key", os.urandom(128))
        host = socket.gethostname()
        for number in range(GPUS_A_NODE):
            # What Slurm takes for a GPU is a character device, whatever it does.
            os.mknod(self.folder / "dev" / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))
        nodes = [
            NODE.format(
                name=name,
                host=host,
                port=self.ports[name],
                cores=CORES,
                memory=MEMORY_MB,
                gres=f" Gres=gpu:fake:{GPUS_A_NODE}" if name in GPU_NODES else "",
            )
            for name in (*CPU_NODES, *GPU_NODES)
        ]
        values = {
            "folder": self.folder,
            "ports": self.ports,
            "host": host,
            "nodes": "\n".join(nodes),
            "cpu_nodes": ",".join(CPU_NODES),
            "gpu_nodes": ",".join(GPU_NODES),
            "kill_wait": 5,
        }
        self._write("slurm.conf", SLURM_CONF.format(**values).encode(), 0o644)
        self._write("slurmdbd.conf", SLURMDBD_CONF.format(**values).encode())
        gpus = f"Name=gpu Type=fake File={self.folder}/dev/gpu[0-{GPUS_A_NODE - 1}]"
        self._write("gres.conf", "".join(f"NodeName={name} {gpus}\n" for name in GPU_NODES).encode(), 0o644)
        SYSTEM.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            link = SYSTEM / name
            if link.exists() or link.is_symlink():
                raise ClusterError(f"{link} is there already: this machine belongs to a cluster, which is left alone")
            link.symlink_to(self.folder / name)

    def _write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)


def install() -> None:
    """Install Slurm and its database where they are missing."""
    os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None or os.getuid() != 0:
        raise ClusterError(
            f"{', '.join(missing)} missing: install {' '.join(PACKAGES)}, or be root on Debian or Ubuntu"
        )
    # Nothing but this module may start the daemons.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
        answer = subprocess.run(command, env=quiet, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if answer.returncode:
            raise ClusterError(f"{' '.join(command)}:\n{answer.stdout[-2000:]}")


def find_ports(number: int) -> list[int]:
    """Return free ports; they are held together, so that all differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def read_program(pid: int) -> str:
    """Return the program of a process, or nothing if it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return "" if fields["State"].startswith("Z") else fields["Name"]


def find_processes(*variables: str) -> list[int]:
    """Return the processes that have variables in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            if set(variables) <= set(environment):
                found.append(int(folder.name))
    return found


def find_writers(program: str, file: Path) -> list[int]:
    """Return the processes of a program that have a file open; slurmstepd hides its environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if read_program(int(folder.name)) == program:
                opened = [os.readlink(link) for link in (folder / "fd").iterdir()]
                found += [int(folder.name)] if str(file) in opened else []
    return found


def kill_processes(pids: list[int]) -> None:
    """End processes at once."""
    for pid in pids:
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    cluster = Cluster(Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER)
    {"start": cluster.start, "stop": cluster.stop}[sys.argv[1]]()
