"""Asking the archive's indices: Globus Search on the American side, the Solr-style search elsewhere."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sealiency.config.esgf import Esgf
from sealiency.errors import SealiencyError
from sealiency.esgf.manifest import name_manifest

LOGGER = logging.getLogger(__name__)
PAGE = 500
_DATASET_ID = re.compile(r"^(?P<dataset>.+)\.(?P<version>v\d+)\|(?P<data_node>[^|]+)$")

Filters = Mapping[str, Sequence[str]]
Ask = Callable[[requests.Session, str, float, Filters], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Record:
    """What an index says of a data set, or of one of its files, at one data node."""

    dataset: str
    version: str
    data_node: str
    retracted: bool
    content: Mapping[str, Any]

    def first(self, key: str) -> Any:
        """Return a field, which may be a value or a list of one, or None."""
        return _first(self.content.get(key))


@dataclass(frozen=True)
class Answers:
    """What all indices answered: records of the data set and of its files, a word on each index, and who did not."""

    datasets: list[Record]
    files: list[Record]
    indices: dict[str, str]
    silent: list[str]


def ask_indices(settings: Esgf) -> Answers:
    """Ask every index for all versions of the data set and for their files.

    Raises
    ------
    SealiencyError
        If no index answers.
    """
    asked: list[tuple[str, Ask]] = [(address, _ask_globus) for address in settings.globus_indices]
    asked += [(address, _ask_solr) for address in settings.solr_indices]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda index: _ask_index(index[0], index[1], settings), asked))
    said = {address: answer for (address, _), (answer, *_) in zip(asked, answers, strict=True)}
    for address, answer in said.items():
        LOGGER.info("%s: %s", address, answer)
    silent = [address for (address, _), (_, records, _) in zip(asked, answers, strict=True) if records is None]
    if len(silent) == len(asked):
        reasons = "\n".join(f"- {address}: {answer}" for address, answer in said.items())
        raise SealiencyError(
            f"{settings.facets.dataset}: no index answered, so it cannot be resolved now; try again later, or put a "
            f"manifest that was resolved before at {name_manifest(settings)}\n{reasons}"
        )
    return Answers(
        datasets=[record for _, records, _ in answers for record in records or []],
        files=[record for *_, records in answers for record in records or []],
        indices=said,
        silent=silent,
    )


def _ask_index(address: str, ask: Ask, settings: Esgf) -> tuple[str, list[Record] | None, list[Record] | None]:
    facets = settings.facets
    with requests.Session() as session:
        # An index may ask for a long pause; the answer of the others is worth more than that.
        retries = Retry(
            total=settings.attempts - 1,
            connect=min(1, settings.attempts - 1),
            backoff_factor=settings.wait,
            backoff_max=60,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            respect_retry_after_header=False,
        )
        session.mount("http://", HTTPAdapter(max_retries=retries))
        session.mount("https://", HTTPAdapter(max_retries=retries))
        try:
            wanted = {"type": ["Dataset"], **{name: [value] for name, value in facets.model_dump().items()}}
            datasets = _read(ask(session, address, settings.timeout, wanted), "id", facets.dataset)
            ids = sorted({str(record.first("id")) for record in datasets})
            files = (
                _read(
                    ask(session, address, settings.timeout, {"type": ["File"], "dataset_id": ids}),
                    "dataset_id",
                    facets.dataset,
                )
                if ids
                else []
            )
        except requests.RequestException as error:
            return f"did not answer ({_name_cause(error)})", None, None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"gave an answer that is no search result ({type(error).__name__}: {error})", None, None
    return f"{len(datasets)} data set records, {len(files)} file records", datasets, files


def _ask_globus(session: requests.Session, address: str, timeout: float, filters: Filters) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {
        "q": "*",
        "limit": PAGE,
        "filters": [
            {"type": "match_any", "field_name": name, "values": list(values)} for name, values in filters.items()
        ],
    }
    while True:
        response = session.post(f"{address}/scroll", json=query, timeout=timeout)
        response.raise_for_status()
        page = response.json()
        for found in page["gmeta"]:
            for entry in found["entries"]:
                # The subject is the record's id, which its content need not repeat.
                yield {"id": found["subject"], **entry["content"]}
        if not page.get("has_next_page"):
            return
        query["marker"] = page["marker"]


def _ask_solr(session: requests.Session, address: str, timeout: float, filters: Filters) -> Iterator[dict[str, Any]]:
    done, total = 0, 1
    while done < total:
        options: dict[str, Any] = {"format": "application/solr+json", "distrib": "true", "limit": PAGE, "offset": done}
        response = session.get(address, params=options | dict(filters), timeout=timeout)
        response.raise_for_status()
        page = response.json()["response"]
        total = page["numFound"]
        if not page["docs"] and done < total:
            raise ValueError(f"it promised {total} records and stopped after {done}")
        yield from page["docs"]
        done += len(page["docs"])


def _read(contents: Iterator[dict[str, Any]], key: str, dataset: str) -> list[Record]:
    records = []
    for content in contents:
        # The version that counts stands in the identifier; a file's own field says 1.
        match = _DATASET_ID.match(str(_first(content.get(key))))
        if match and match["dataset"] == dataset:
            retracted = str(_first(content.get("retracted"))).lower() == "true"
            records.append(Record(**match.groupdict(), retracted=retracted, content=content))
    return records


def _first(value: Any) -> Any:
    return (value[0] if value else None) if isinstance(value, list) else value


def _name_cause(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    return str(getattr(error.args[0], "reason", error)) if error.args else type(error).__name__
