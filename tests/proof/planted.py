# ruff: noqa: E501, ISC004 - the edits quote lines of code as they stand, one quoted line to a line
"""Bugs that cost money or lose data, as edits of the tree, each with the test that catches it (see `selftest.py`).

A table, and therefore longer than a file may be: each row reads by itself. `before` stands exactly once in its file; a
row that fits no longer says so (`test_planted.py`, in every test run). Nothing of this is in the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Edit = tuple[str, str, str]  # file, before, after

ADOPTED: Final = "tests/engine/test_doubt_adopted.py"
VOID: Final = "tests/engine/test_doubt_void.py"
RUNNING: Final = "tests/engine/test_doubt_in_time.py"
COLLECTING: Final = "tests/engine/test_collecting.py"
LINES: Final = "tests/engine/test_odd_lines.py"
SETTLING: Final = "tests/engine/test_settling.py"
CRASHES: Final = "tests/engine/test_crash_points.py"
CANCELING: Final = "tests/engine/test_cancel_and_retry.py"
UNREADABLE: Final = "tests/engine/test_unreadable_lines.py"
ODD: Final = "tests/engine/test_odd_entries.py"
WALKING: Final = "tests/engine/test_walking.py"
POISON: Final = "tests/engine/test_poison.py"
PAUSES: Final = "tests/engine/test_pauses.py"
ANSWERS: Final = "tests/provider/test_provider_create_answers.py"
CREATE: Final = "tests/provider/test_provider_create.py"
CONNECTION: Final = "tests/store/test_store_connection.py"
RESTORED: Final = "tests/engine/test_restored_store.py"
STEPS: Final = "tests/store/test_store_steps.py"
SCHEMA: Final = "tests/store/test_store_schema.py"
LOST_ANSWER: Final = f"{ADOPTED}::test_a_batch_whose_answer_was_lost_is_adopted_by_proof"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One bug. why: what it costs. test: catches it. raises: by this error, where it is no assertion.

    hunt: a profile of simulated worlds in which it is looked for as well.
    """

    name: str
    why: str
    edits: tuple[Edit, ...]
    test: str
    raises: str | None = None
    hunt: str | None = None


PLANTED: Final = (
    # --- one POST, after its intent -----------------------------------------------------------------------------------
    Planted(
        name="sdk-retries-on",
        why="the SDK's default: a create whose answer is lost is sent up to three times, each a batch that is billed",
        edits=(
            (
                "orchestrator/provider/sdk_clients.py",
                "http_client=http_client, max_retries=0)",
                "http_client=http_client, max_retries=2)",
            ),
            ("orchestrator/provider/client.py", '"headers": sent, "max_retries": 0,', '"headers": sent,'),
            (
                "orchestrator/provider/create_call.py",
                "        self._chunks = body.chunks()\n",
                "        self._chunks = body.chunks()\n        self._again = body.chunks\n",
            ),
            (
                "orchestrator/provider/create_call.py",
                "    def __aiter__(self) -> Upload:\n",
                "    def __aiter__(self) -> Upload:\n        self._chunks, self.handed_bytes = self._again(), 0\n",
            ),
        ),
        test=LOST_ANSWER,
        hunt="everything",
    ),
    Planted(
        name="post-before-intent",
        why="killed between the POST and its record, the next life knows of no POST and sends the batch again",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "        return await self._store.intend(batch, api_calls.newest(page), page.meta, now)\n",
                "        headers = Headers(api_version=batch.api_version, betas=batch.betas)\n"
                "        answer = await self._context.provider.create(BatchBody(self._params, batch), headers)\n"
                "        self.__dict__.setdefault('answers', {})[batch.id] = answer\n"
                "        return await self._store.intend(batch, api_calls.newest(page), page.meta, now)\n",
            ),
            (
                "orchestrator/engine/submit.py",
                "        answer = await self._context.provider.create(BatchBody(self._params, submitting), headers)\n",
                "        answer = self.__dict__['answers'].pop(batch.id)\n",
            ),
        ),
        test=f"{CRASHES}::test_a_life_may_end_at_any_step",
        hunt="everything",
    ),
    Planted(
        name="unclear-is-sent-once-more",
        why="one more try after a lost answer is the second purchase that the protocol exists to prevent",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "        await self._apply(submitting, answer, self._context.clock.now())\n        return 1\n",
                "        if isinstance(answer, api_answers.Unclear):\n"
                "            body = BatchBody(self._params, submitting)\n"
                "            answer = await self._context.provider.create(body, headers)\n"
                "        await self._apply(submitting, answer, self._context.clock.now())\n        return 1\n",
            ),
        ),
        test=f"{ADOPTED}::test_two_answers_lost_in_a_row_leave_two_batches_not_four",
        hunt="everything",
    ),
    Planted(
        name="recovery-sends-again",
        why="an intent without an answer is taken for a POST that never left: after a crash the batch is bought twice",
        edits=(
            (
                "orchestrator/engine/recover.py",
                'self._submit.doubt(batch, "the POST was interrupted", now)',
                'self._submit.give_back(batch, "the POST was interrupted", now, cut=False)',
            ),
        ),
        test=f"{CRASHES}::test_a_life_may_end_at_any_step",
        hunt="everything",
    ),
    Planted(
        name="keep-alive-for-creates",
        why="a reset of a reused connection looks like a lost answer: each is a doubt of 20 minutes for nothing",
        edits=(("orchestrator/provider/sdk_clients.py", "how, keep_alive=False)", "how, keep_alive=True)"),),
        test=f"{CREATE}::test_every_create_has_a_connection_of_its_own_and_reads_share_one",
    ),
    Planted(
        name="redirect-followed",
        why="the POST goes to another host, with the body and perhaps the key; what the first one did stays unknown",
        edits=(
            ("orchestrator/provider/client.py", '"max_retries": 0, "follow_redirects": False}', '"max_retries": 0}'),
            (
                "orchestrator/provider/sdk_clients.py",
                "return anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=False, **how)",
                "return anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=True, **how)",
            ),
        ),
        test=f"{ANSWERS}::test_a_redirect_is_not_followed_and_the_key_stays_here",
    ),
    Planted(
        name="stop-not-asked-at-the-intent",
        why="a cancel or pause that was committed before the intent is overrun: what a person stopped is bought",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                "   AND EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.state = 'running')\n",
                "",
            ),
        ),
        test=f"{STEPS}::test_a_command_that_comes_before_the_intent_wins",
        hunt="everything",
    ),
    # --- what an answer means -----------------------------------------------------------------------------------------
    Planted(
        name="5xx-is-not-created",
        why="a 500 may come after the batch was made: sending again buys it twice",
        edits=(
            (
                "orchestrator/domain/create_outcome.py",
                '    return Unclear(why=f"{status}: {exchange.message}")\n',
                "    if status >= 500:\n        return NotSent(why=exchange.message, cut=False)\n"
                '    return Unclear(why=f"{status}: {exchange.message}")\n',
            ),
        ),
        test=LOST_ANSWER,
        hunt="everything",
    ),
    Planted(
        name="any-529-is-a-no",
        why="only the API's own words say that it refused; a proxy's 529 may hide a batch that was made",
        edits=(("orchestrator/domain/create_outcome.py", "(status == 529 and exchange.api_error)", "status == 529"),),
        test=f"{ANSWERS}::test_each_answer_means_what_the_table_says_and_is_never_asked_for_twice",
    ),
    Planted(
        name="whole-body-counts-as-cut",
        why="a reset after the last byte is no clear no: the API has the body, and the batch is bought twice",
        edits=(
            (
                "orchestrator/domain/create_outcome.py",
                "    if exchange.handed_bytes < exchange.size_bytes:\n        return NotSent(why=exchange.message, cut=",
                "    if exchange.handed_bytes <= exchange.size_bytes:\n        return NotSent(why=exchange.message, cut=",
            ),
        ),
        test=LOST_ANSWER,
        hunt="everything",
    ),
    Planted(
        name="a-200-is-a-yes",
        why="a batch of another size is not ours: its results are awaited, our own batch runs unseen",
        edits=(
            (
                "orchestrator/domain/create_outcome.py",
                "batch is not None and batch.counts.total == exchange.count",
                "batch is not None",
            ),
        ),
        test=f"{ANSWERS}::test_each_answer_means_what_the_table_says_and_is_never_asked_for_twice",
    ),
    Planted(
        name="request-0-is-nobody",
        why="`if index` takes the first request for an unnamed one: its batch is halved, or the job pauses for it",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "answer.index is not None and answer.index < batch.count",
                "answer.index and answer.index < batch.count",
            ),
        ),
        test=f"{POISON}::test_a_400_that_names_a_request_fails_that_one_and_the_rest_goes_on",
    ),
    # --- the wait -----------------------------------------------------------------------------------------------------
    Planted(
        name="no-settle-wait",
        why="a batch that is listed a few minutes late is taken for never made: bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        wait = self._context.settings.doubt_wait\n",
                "        wait = self._context.settings.doubt_wait * 0\n",
            ),
        ),
        test=f"{ADOPTED}::test_a_batch_that_is_listed_late_but_within_the_wait_is_found",
        hunt="everything",
    ),
    Planted(
        name="first-look-voids",
        why="one list that flickers (a replica behind the others) is enough to buy a batch twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "if found or batch.doubt_looks == 0 or scan.date is None:",
                "if found or scan.date is None:",
            ),
        ),
        test=f"{RUNNING}::test_a_list_that_misses_a_batch_once_does_not_void_it",
        hunt="everything",
    ),
    Planted(
        name="crash-loop-forgets-the-wait",
        why="the API's first Date is not kept over a restart: a process that dies every few minutes never ends a doubt",
        edits=(
            (
                "orchestrator/store/sql/doubt.sql",
                "UPDATE batch SET doubt_since = :now WHERE",
                "UPDATE batch SET doubt_since = :now, doubt_date = NULL WHERE",
            ),
        ),
        test=f"{ADOPTED}::test_a_crash_loop_shorter_than_the_wait_still_converges",
        hunt="crash loop",
    ),
    Planted(
        name="wait-by-the-wall-clock",
        why="a clock set ahead between two lives ends the wait at once: a batch that is not listed yet is bought twice",
        edits=(
            (
                "orchestrator/store/sql/doubt.sql",
                "UPDATE batch SET doubt_since = :now WHERE state = 'in_doubt'",
                "UPDATE batch SET doubt_since = :now WHERE state = 'in_doubt' AND doubt_since IS NULL",
            ),
        ),
        test=f"{RUNNING}::test_a_clock_set_between_lives_does_not_end_the_wait",
    ),
    # --- the candidates -----------------------------------------------------------------------------------------------
    Planted(
        name="candidates-from-our-clock",
        why="a clock that is ahead when the batch is sent hides it from the search: bought twice (17 % at +30 s)",
        edits=(
            (
                "orchestrator/engine/api_calls.py",
                "    return min(times, default=batch.planned_at) - waiting.WALK_MARGIN\n",
                "    return (batch.planned_at if batch.sent_at is None else batch.sent_at) - waiting.WALK_MARGIN\n",
            ),
        ),
        test=f"{RUNNING}::test_a_clock_that_is_wrong_when_a_batch_is_sent_hides_nothing",
        hunt="everything",
    ),
    Planted(
        name="candidates-until-our-clock",
        why="a clock that is behind when the wait ends closes the set before the batch was made: bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "return await self._store.end_wait(batch, date)",
                "return await self._store.end_wait(batch, now)",
            ),
        ),
        test=f"{ADOPTED}::test_our_clock_set_by_a_day_between_lives_changes_nothing",
    ),
    Planted(
        name="adoption-hides",
        why="a candidate of one batch in doubt is kept from another, which may be its owner and is voided: bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        await self._evidence.add_candidates(batch, await self._evidence.unclaimed(fitting))\n",
                "        others = [b for b in await self._store.in_doubt() if b.id != batch.id]\n"
                "        hidden = {c.remote_id for other in others for c in await self._evidence.candidates(other)}\n"
                "        fitting = [remote for remote in fitting if remote.id not in hidden]\n"
                "        await self._evidence.add_candidates(batch, await self._evidence.unclaimed(fitting))\n",
            ),
        ),
        test=f"{RUNNING}::test_two_in_doubt_whose_batches_still_run_keep_the_candidates_of_both",
        hunt="twins",
    ),
    Planted(
        name="open-set-of-candidates",
        why="without an upper bound a busy workspace keeps a batch in doubt for ever: its requests are never answered",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "api_calls.search_from(batch) <= remote.created_at <= until",
                "api_calls.search_from(batch) <= remote.created_at and until is not None",
            ),
        ),
        test=f"{VOID}::test_neighbours_that_come_after_the_wait_are_no_candidates",
    ),
    Planted(
        name="cursor-is-a-place",
        why="what lies above the cursor in the list: with the cursor deleted nothing does, and the batch is bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "            for remote in scan.remotes.values()\n",
                "            for place, remote in enumerate(scan.remotes.values())\n"
                "            if batch.cursor_id is None or place < [*scan.remotes, batch.cursor_id].index(batch.cursor_id)\n"
                "            if batch.cursor_id is None or batch.cursor_id in scan.remotes\n",
            ),
        ),
        test=f"{ADOPTED}::test_a_deleted_cursor_batch_does_not_lose_the_search",
    ),
    Planted(
        name="no-cursor-no-search",
        why="in an empty workspace there is no cursor: the first batch ever is not looked for, and bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "            if remote.counts.total == batch.count and",
                "            if batch.cursor_id is not None and remote.counts.total == batch.count and",
            ),
        ),
        test=f"{ADOPTED}::test_the_first_batch_ever_can_be_in_doubt",
    ),
    Planted(
        name="unreadable-is-foreign",
        why="a candidate whose results do not come is dropped without a proof, and the batch bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "                await self._unreadable(candidate, batch, verdict.why, scan)\n                return True\n",
                "                await self._unreadable(candidate, batch, verdict.why, scan)\n                return False\n",
            ),
        ),
        test=f"{VOID}::test_a_candidate_that_cannot_be_read_for_a_day_needs_a_person",
    ),
    Planted(
        name="a-new-day-for-the-second",
        why="of two unprovable candidates the second is put before a person only after another day: a day of waiting each",
        edits=(
            (
                "orchestrator/store/sql/doubt.sql",
                "unreadable_since = CASE :verdict WHEN 'unprovable' THEN unreadable_since END",
                "unreadable_since = NULL",
            ),
        ),
        test=f"{VOID}::test_of_two_unprovable_candidates_the_second_is_asked_about_as_soon_as_the_first_is_decided",
        raises="ValueError",
    ),
    Planted(
        name="404-is-absence",
        why="a candidate that the API does not show for a while is dropped, and the batch bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        if entry is None or entry.id is None:\n",
                "        if entry is None:\n            return attribution.Foreign(nonce=None), None\n        if entry.id is None:\n",
            ),
        ),
        test=f"{VOID}::test_a_candidate_that_vanishes_from_the_list_is_still_waited_for",
    ),
    Planted(
        name="odd-entry-is-nobody",
        why="what the list shows and nobody can read is taken for nothing: a batch that is behind it is bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        fitting += [attribution.placeholder(entry, until) for entry in scan.malformed.values() if _may_be(batch, entry)]\n",
                "",
            ),
        ),
        test=f"{ODD}::test_a_doubt_does_not_end_while_an_entry_without_an_id_could_be_it",
    ),
    Planted(
        name="unknown-kind-is-sent-again",
        why="a kind of result that nobody knows may have been billed: each such request is paid for five times",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                '    if kind != "errored":\n        return Outcome.FAILED\n',
                '    if kind != "errored":\n        return Outcome.AGAIN\n',
            ),
        ),
        test=f"{UNREADABLE}::test_a_result_of_an_unknown_kind_is_kept_and_not_bought_again",
    ),
    Planted(
        name="one-reading-is-enough",
        why="a line that was spoilt on its way once is given up, although the next download has the answer",
        edits=(("orchestrator/engine/result_file.py", "_READINGS: Final = 2\n", "_READINGS: Final = 1\n"),),
        test=f"{UNREADABLE}::test_a_line_that_was_spoilt_on_its_way_comes_whole_the_next_time",
    ),
    Planted(
        name="candidates-forgotten",
        why="only what the list shows now counts: a candidate that vanishes from it is dropped, and bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                '            if candidate.verdict not in {"ours", "foreign"}:\n',
                '            if candidate.verdict not in {"ours", "foreign"} and candidate.remote_id in scan.remotes:\n',
            ),
        ),
        test=f"{VOID}::test_a_candidate_that_vanishes_from_the_list_is_still_waited_for",
    ),
    Planted(
        name="size-is-proof",
        why="a neighbour's batch of the same size is adopted: ours runs unseen, its requests are never answered",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        verdict, remote = await self._verdict(candidate, scan)\n",
                "        verdict, remote = attribution.Ours(batch=batch), scan.remotes.get(candidate.remote_id)\n",
            ),
        ),
        test=f"{ADOPTED}::test_a_neighbours_batch_of_the_same_size_is_proven_foreign_and_not_read_again",
        hunt="everything",
    ),
    Planted(
        name="short-end-is-foreign",
        why="a download cut before our first line proves nothing; taken for foreign, the batch is bought twice",
        edits=(
            (
                "orchestrator/engine/attribution.py",
                "    if total is not None and seen >= total:\n",
                "    if total is not None and seen <= total:\n",
            ),
        ),
        test=f"{ADOPTED}::test_results_without_a_readable_line_prove_nothing",
    ),
    Planted(
        name="running-is-foreign",
        why="a candidate that still runs cannot be proven; dropped, it ends as ours beside a second purchase",
        edits=(
            (
                "orchestrator/engine/attribution.py",
                '        return Unsure(why="it has not ended")\n',
                "        return Foreign(nonce=None)\n",
            ),
        ),
        test=f"{RUNNING}::test_two_in_doubt_whose_batches_still_run_keep_the_candidates_of_both",
    ),
    Planted(
        name="no-margin-below-the-cursor",
        why="`created_at` may be a little before the cursor's: the batch is not found and bought twice",
        edits=(
            (
                "orchestrator/engine/api_calls.py",
                "min(times, default=batch.planned_at) - waiting.WALK_MARGIN",
                "min(times, default=batch.planned_at) - waiting.WALK_MARGIN * 0",
            ),
        ),
        test=f"{ADOPTED}::test_a_batch_dated_a_little_before_its_cursor_is_found",
    ),
    Planted(
        name="cursor-alone-is-believed",
        why="one odd `created_at` at the top of the list ends the search above our own batch: bought twice",
        edits=(
            (
                "orchestrator/engine/api_calls.py",
                "min(times, default=batch.planned_at)",
                "max(times, default=batch.planned_at)",
            ),
        ),
        test=f"{ADOPTED}::test_a_cursor_from_the_future_hides_no_batch",
    ),
    # --- the walk of the list -----------------------------------------------------------------------------------------
    Planted(
        name="before-id-paging",
        why="`before_id` goes up the list: what lies below the first page is never seen, and bought twice",
        edits=(
            (
                "orchestrator/provider/client.py",
                '{"limit": limit, "after_id": after_id}',
                '{"limit": limit, "before_id": after_id}',
            ),
        ),
        test=f"{RUNNING}::test_a_list_that_changes_between_its_pages_hides_no_batch",
    ),
    Planted(
        name="half-a-walk-is-a-walk",
        why="a page that cannot be read ends the look as if nothing were below: what was not shown is bought twice",
        edits=(
            (
                "orchestrator/engine/batch_list.py",
                "        page = await below(after)\n",
                "        try:\n"
                "            page = await below(after)\n"
                "        except Exception:\n"
                "            if after is None:\n"
                "                raise\n"
                "            return\n",
            ),
        ),
        test=f"{RUNNING}::test_a_list_that_changes_between_its_pages_hides_no_batch",
    ),
    Planted(
        name="hidden-pages-believed",
        why="a list that announces more and does not show it is taken for whole: a batch below is bought twice",
        edits=(
            (
                "orchestrator/engine/batch_list.py",
                '            raise errors.ProviderUnreachable("the list says that there is more, and does not show it")\n',
                "            return\n",
            ),
        ),
        test=f"{WALKING}::test_a_list_that_hides_what_it_announces_is_no_list",
    ),
    Planted(
        name="another-accounts-list",
        why="another account's list shows none of our batches: each one in doubt is voided and bought again",
        edits=(
            (
                "orchestrator/engine/api_calls.py",
                "        if seen is not None and known is not None and seen != known:\n",
                "        if seen is None and known is not None and seen != known:\n",
            ),
        ),
        test=f"{PAUSES}::test_another_accounts_key_pauses_the_job_and_says_which_is_needed",
    ),
    # --- the late sweep -----------------------------------------------------------------------------------------------
    Planted(
        name="no-late-sweep",
        why="a batch listed later than the wait is a purchase that nobody is told of",
        edits=(
            (
                "orchestrator/domain/waiting.py",
                "SWEEP_FOR: Final = timedelta(hours=25)",
                "SWEEP_FOR: Final = timedelta(0)",
            ),
        ),
        test=f"{VOID}::test_a_batch_listed_later_than_the_wait_is_found_by_the_late_sweep",
        hunt="late list",
    ),
    Planted(
        name="sweep-lets-go-of-what-runs",
        why="a late batch that runs longer than the sweep ends as a purchase that nobody is told of",
        edits=(
            (
                "orchestrator/engine/sweep.py",
                "                undecided.add(remote.counts.total)\n",
                "                pass\n",
            ),
        ),
        test=f"{VOID}::test_a_late_batch_that_still_runs_is_not_swept_away",
    ),
    # --- results ------------------------------------------------------------------------------------------------------
    Planted(
        name="eof-trusted",
        why="a download may end early without an error: what it left out is called missing though it was paid for",
        edits=(
            (
                "orchestrator/engine/collect.py",
                "        if not _patience_is_over(batch, meta):\n",
                "        if not batch.remote_id:\n",
            ),
        ),
        test=f"{COLLECTING}::test_a_download_that_breaks_is_repeated_from_the_start",
        hunt="everything",
    ),
    Planted(
        name="counts-alone-trusted",
        why="a line counts whoever's it is: another batch's answers are given out as this one's",
        edits=(
            (
                "orchestrator/engine/result_file.py",
                "number_in(line.wire_id, self._batch.nonce) if numbers is None",
                "number_in(line.wire_id, line.wire_id[:20]) if numbers is None",
            ),
        ),
        test=f"{LINES}::test_the_lines_of_another_batch_are_nobodys_answers",
    ),
    Planted(
        name="counts-not-compared",
        why="every id came, but the API says that others succeeded: the difference in the bill is never told",
        edits=(
            (
                "orchestrator/engine/collect.py",
                "    if counts is None or progress.seen != progress.count:\n        return False\n",
                "    if counts is None or progress.seen != progress.count:\n        return False\n    if progress.seen:\n        return True\n",
            ),
        ),
        test=f"{COLLECTING}::test_counts_that_disagree_are_given_the_same_patience_and_then_told",
    ),
    Planted(
        name="iter-lines",
        why="a text with U+2028 is legal inside a line: split there, a paid answer is two lines of garbage, for ever",
        edits=(
            (
                "orchestrator/domain/line_splitter.py",
                '        first_end = chunk.find(b"\\n")\n',
                '        chunk = chunk.replace(b"\\xe2\\x80\\xa8", b"\\n")\n        first_end = chunk.find(b"\\n")\n',
            ),
        ),
        test=f"{LINES}::test_line_separators_inside_an_answer_end_no_line",
    ),
    Planted(
        name="settled-row-overwritten",
        why="a repeated download changes what was read already: two exports of one job differ",
        edits=(
            (
                "orchestrator/store/sql/collect.sql",
                "   AND request.batch_id = :batch_id AND request.state = 'batched'\n"
                "   AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.batch_id = :batch_id AND attempt.request_id = request.id)\n"
                "\n-- name: count_succeeded\n",
                "   AND request.batch_id = :batch_id\n\n-- name: count_succeeded\n",
            ),
            (
                "orchestrator/store/sql/collect.sql",
                "UPDATE job SET batched = batched - :count, succeeded = succeeded + :count WHERE",
                "UPDATE job SET batched = batched - min(batched, :count), succeeded = succeeded + min(batched, :count) WHERE",
            ),
            (
                "migrations/0002_bulk.sql",
                "BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;",
                "BEGIN SELECT 1; END;",
            ),
        ),
        test=f"{LINES}::test_what_was_read_once_never_changes",
    ),
    Planted(
        name="repeats-not-looked-for",
        why="two requests under one id: the results of one hide the other's in whatever reads them by id",
        edits=(
            (
                "orchestrator/store/custom_ids.py",
                "            if custom_id == at:\n",
                "            if custom_id == at and False:\n",
            ),
        ),
        test="tests/store/test_store_intake.py::test_duplicates_are_named_with_both_lines_within_a_chunk_and_across",
    ),
    Planted(
        name="bulk-not-counted",
        why="requests succeed by the thousand and the job still shows them as batched: it never ends",
        edits=(
            (
                "orchestrator/store/collect.py",
                '    c.execute(SQL["count_succeeded"], {"id": batch.job_id, "count": moved_rows})\n',
                "",
            ),
        ),
        test="tests/store/test_store_counts.py::test_counts_are_what_counting_gives_in_every_committed_snapshot",
    ),
    Planted(
        name="settled-is-not-frozen",
        why="the schema is the last guard: without it a bug above rewrites an answer in silence",
        edits=(
            (
                "migrations/0002_bulk.sql",
                "BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;",
                "BEGIN SELECT 1; END;",
            ),
        ),
        test=f"{SCHEMA}::test_a_settled_request_is_frozen_in_every_column",
    ),
    Planted(
        name="duplicate-line-overwrites",
        why="of two different lines for one request the second wins in one chunk, the first in two: no one answer",
        edits=(("orchestrator/store/collect.py", "for line in reversed(lines)}", "for line in lines}"),),
        test="tests/store/test_store_settling.py::test_the_first_of_two_different_lines_wins",
    ),
    Planted(
        name="404-of-results-is-loss",
        why="results come late or flicker: the paid answers of a whole batch are called lost",
        edits=(
            (
                "orchestrator/engine/download_failures.py",
                "if gone and age is not None and age > _LOST_AFTER:",
                "if gone:",
            ),
        ),
        test=f"{COLLECTING}::test_a_download_that_breaks_is_repeated_from_the_start",
    ),
    Planted(
        name="retention-by-our-clock",
        why="a clock that is a month ahead calls results lost that the API still has",
        edits=(
            (
                "orchestrator/engine/download_failures.py",
                "else meta.date - batch.created_at\n        if gone",
                "else now - batch.created_at\n        if gone",
            ),
        ),
        test=f"{LINES}::test_a_clock_that_is_a_month_ahead_loses_no_results",
    ),
    Planted(
        name="deleted-before-collected",
        why="the API's only copy of paid answers is deleted before they are here",
        edits=(
            (
                "orchestrator/store/sql/collect.sql",
                "WHERE state = 'settled' AND deleted_at IS NULL ORDER BY",
                "WHERE state IN ('ended', 'settled') AND deleted_at IS NULL ORDER BY",
            ),
        ),
        test=f"{LINES}::test_nothing_is_deleted_at_the_api_before_it_is_here",
        hunt="everything",
    ),
    # --- settle, cancel, retry ----------------------------------------------------------------------------------------
    Planted(
        name="attempts-or-max",
        why="`attempts or max`: the first trip (0 before it) counts as the last, and a server error fails the request",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                "if attempts + 1 < max_attempts else",
                "if (attempts or max_attempts) + 1 < max_attempts else",
            ),
        ),
        test=f"{SETTLING}::test_server_errors_and_expiries_end_succeeded_resubmitting_only_those",
    ),
    Planted(
        name="attempts-never-run-out",
        why="a request that fails for ever is bought for ever",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                "if attempts + 1 < max_attempts else",
                "if attempts + 1 <= 10 * max_attempts else",
            ),
        ),
        test=f"{SETTLING}::test_attempts_run_out_with_the_apis_own_last_word",
    ),
    Planted(
        name="pause-after-queueing",
        why="killed between the two, a job goes on that a person has to settle first: what they stopped is sent again",
        edits=(
            (
                "orchestrator/engine/settle.py",
                "        await self._pause_first(batch, now)\n        totals",
                "        asked = await self._store.outcomes(batch)\n        totals",
            ),
            (
                "orchestrator/engine/settle.py",
                '        log.info("batch.settled", batch_id=batch.id, **totals)\n',
                '        log.info("batch.settled", batch_id=batch.id, **totals)\n'
                "        await self._pause_first(batch, now, asked)\n",
            ),
            (
                "orchestrator/engine/settle.py",
                "    async def _pause_first(self, batch: BatchRow, now: datetime) -> None:\n"
                "        outcomes = await self._store.outcomes(batch)\n",
                "    async def _pause_first(self, batch: BatchRow, now: datetime, outcomes: dict[Outcome, int]) -> None:\n",
            ),
        ),
        test=f"{SETTLING}::test_a_life_that_ends_while_stopped_requests_are_queued_sends_nothing",
    ),
    Planted(
        name="canceled-elsewhere-goes-on",
        why="somebody pressed stop in the Console, and the requests are sent again at once",
        edits=(
            (
                "orchestrator/engine/settle.py",
                "if outcomes.get(Outcome.CANCELED, 0) and batch.cancel_asked_at is None:",
                "if outcomes.get(Outcome.CANCELED, 0) and batch.cancel_asked_at is not None:",
            ),
        ),
        test=f"{SETTLING}::test_a_batch_canceled_elsewhere_is_queued_for_free_and_pauses_the_job",
    ),
    Planted(
        name="canceled-elsewhere-is-final",
        why="what somebody stopped in the Console is never answered, though its job goes on",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                "    if is_canceling:\n",
                "    if is_canceling or outcome is Outcome.CANCELED:\n",
            ),
        ),
        test=f"{SETTLING}::test_a_batch_canceled_elsewhere_is_queued_for_free_and_pauses_the_job",
        hunt="everything",
    ),
    Planted(
        name="a-person-overrules-a-proof",
        why="a proven neighbour's batch is adopted: our requests are lost in it, and a cancel touches what is theirs",
        edits=(
            (
                "orchestrator/store/sql/job_control.sql",
                " AND batch.state = 'in_doubt' AND remote.verdict IN ('unproven', 'unprovable')",
                " AND batch.state = 'in_doubt'",
            ),
        ),
        test=f"{VOID}::test_what_is_proven_foreign_cannot_be_adopted",
    ),
    Planted(
        name="409-of-a-cancel-is-done",
        why="a cancel that was refused for a passing reason lets the batch run on at the user's cost",
        edits=(
            (
                "orchestrator/engine/poll.py",
                "if exc.blocked is not None or exc.status != _ENDED_ALREADY:",
                "if exc.blocked is not None:",
            ),
        ),
        test=f"{CANCELING}::test_a_cancel_that_the_api_did_not_take_is_asked_again",
    ),
    Planted(
        name="a-full-disk-ends-the-start",
        why="an engine that starts on a full disk is gone, and does not go on when there is space",
        edits=(
            (
                "orchestrator/engine/runner.py",
                "await self._start()",
                "await self.recover.start(self._context.clock.now())",
            ),
        ),
        test="tests/engine/test_full_disk.py::test_a_full_disk_at_the_start_is_waited_out",
    ),
    Planted(
        name="one-reading-is-a-verdict",
        why="a single spoilt download makes our own batch a stranger's for good, and its requests are bought again",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "            case attribution.Foreign() if not self._second.agrees(candidate.remote_id):\n                return True\n",
                "",
            ),
        ),
        test=f"{ADOPTED}::test_one_spoilt_reading_does_not_give_our_batch_away",
    ),
    Planted(
        name="one-attempt",
        why="a request is given up after the first error of the server's",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                "return Settlement.AGAIN if attempts + 1 < max_attempts else Settlement.FAILED",
                "return Settlement.FAILED",
            ),
        ),
        test=f"{SETTLING}::test_attempts_run_out_with_the_apis_own_last_word",
        hunt="everything",
    ),
    Planted(
        name="fails-what-it-never-sent",
        why="requests are failed by the planner, and nothing is ever sent",
        edits=(
            (
                "orchestrator/engine/plan.py",
                "        if not found.numbers:\n            return await self._fail_first(candidate, now) if found.full else _Step.NOTHING\n",
                "        if found.numbers:\n            return await self._fail_first(candidate, now)\n        if not found.numbers:\n            return _Step.NOTHING\n",
            ),
        ),
        test="tests/engine/test_main_road.py::test_a_job_is_cut_sent_watched_collected_and_written_in_order",
        hunt="everything",
    ),
    Planted(
        name="404-of-a-cancel-is-done",
        why="a cancel that was not taken lets the batch run on at the user's cost",
        edits=(
            (
                "orchestrator/engine/poll.py",
                "            self._next_cancel = now + self._context.settings.poll.shortest\n            return 0\n",
                "            self._next_cancel = now + self._context.settings.poll.shortest\n",
            ),
        ),
        test=f"{CANCELING}::test_a_cancel_that_the_api_did_not_take_is_asked_again",
    ),
    # --- the store ----------------------------------------------------------------------------------------------------
    Planted(
        name="two-tasks-in-one-transaction",
        why="spread over several awaits, a cancelled step stays open and the next task's commit stores half of it",
        edits=(
            (
                "orchestrator/store/connection.py",
                "        return await self._writer.run(partial(in_transaction, step, files=self.files))\n",
                '        await self._writer.run(lambda c: c.execute("BEGIN IMMEDIATE"))\n'
                "        try:\n"
                "            result = await self._writer.run(step)\n"
                '            await self._writer.run(lambda c: c.execute("COMMIT"))\n'
                "        except Exception:\n"
                '            await self._writer.run(lambda c: c.execute("ROLLBACK"))\n'
                "            raise\n"
                "        return result\n",
            ),
        ),
        test=f"{CONNECTION}::test_random_cancellations_leave_no_half_step_and_no_open_transaction",
        raises="OperationalError",
    ),
    Planted(
        name="except-exception-rolls-back",
        why="a cancellation is no Exception: the transaction stays open, and the next commit stores half a step",
        edits=(
            (
                "orchestrator/store/connection.py",
                "        except BaseException:\n            if connection.in_transaction:",
                "        except Exception:\n            if connection.in_transaction:",
            ),
        ),
        test=f"{CONNECTION}::test_whatever_a_step_raises_it_is_rolled_back",
    ),
    Planted(
        name="synchronous-normal",
        why="a power cut forgets an intent that was acknowledged: the batch is bought twice",
        edits=(("orchestrator/store/connect.py", '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = NORMAL"'),),
        test=f"{CONNECTION}::test_the_settings_of_both_kinds_of_connection",
    ),
    Planted(
        name="no-lock",
        why="two engines on one store send the same planned batch, each once",
        edits=(
            (
                "orchestrator/store/ownership.py",
                "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
                "fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
            ),
        ),
        test="tests/store/test_store_ownership.py::test_a_second_owner_is_refused_within_its_patience",
    ),
    Planted(
        name="no-fence-at-the-intent",
        why="a batch that somebody else moved and gave back is sent on what was read before: with an old cursor",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                " WHERE id = :id AND state = 'planned' AND fence = :fence\n",
                " WHERE id = :id AND state = 'planned' AND :fence = :fence\n",
            ),
        ),
        test=f"{STEPS}::test_a_stale_fence_moves_nothing",
    ),
    Planted(
        name="void-keeps-its-requests",
        why="the requests of a void batch are never queued again: they are lost",
        edits=(
            (
                "orchestrator/store/doubt.py",
                '"void", why, now, c):\n            return False\n        c.execute(SQL["release"], {"id": batch.id})\n',
                '"void", why, now, c):\n            return False\n',
            ),
        ),
        test=f"{VOID}::test_a_batch_that_never_was_is_void_after_the_wait_and_two_looks",
    ),
    # --- where keys go ------------------------------------------------------------------------------------------------
    Planted(
        name="a-folder-names-the-address",
        why="an orchestrator.toml that came with a folder sends the key and the prompts wherever it likes",
        edits=(
            (
                "orchestrator/config/sources.py",
                "if self.source.is_project and self.key.meaning.project is REFUSED:",
                "if self.source.is_project and self.key.meaning.project is self.key:",
            ),
        ),
        test="tests/unit/test_config_trust.py::test_a_folder_does_not_say_where_keys_go",
    ),
    Planted(
        name="a-proxy-for-this-machine",
        why="HTTP_PROXY gets the key that is for a gateway on this machine, in clear text",
        edits=(
            (
                "orchestrator/config/network.py",
                '        return {"trust_env": False}\n    check_certificates(environ)\n',
                '        return {"trust_env": True}\n    check_certificates(environ)\n',
            ),
        ),
        test="tests/provider/test_provider_network.py::test_no_proxy_gets_the_key_that_is_for_this_machine",
        raises="ProviderUnreachable",
    ),
    # --- a store that was put back from a copy ------------------------------------------------------------------------
    Planted(
        name="mark-does-not-count",
        why="a copy that is put back is not seen to be older: what was sent since is sent again",
        edits=(
            (
                "orchestrator/store/submit.py",
                "        await self._db.reach(self._mark, intents)\n",
                "",
            ),
        ),
        test=f"{RESTORED}::test_what_was_sent_after_the_backup_is_not_bought_again",
        hunt="restored",
    ),
    Planted(
        name="mark-after-the-post",
        why="killed between the POST and the mark, a copy from before is not seen to lack it",
        edits=(
            (
                "orchestrator/store/submit.py",
                "        await self._db.reach(self._mark, intents)\n        return sending\n",
                "        self._late = intents\n        return sending\n",
            ),
            (
                "orchestrator/store/submit.py",
                '        return move(batch, SQL["accept"], values, "in_progress", remote.id, now, c)\n',
                "        self._mark.reach(self._late)\n"
                '        return move(batch, SQL["accept"], values, "in_progress", remote.id, now, c)\n',
            ),
        ),
        test=f"{RESTORED}::test_a_copy_is_behind_from_the_moment_of_the_post",
        hunt="restored",
    ),
    Planted(
        name="nonces-without-a-mac",
        why="what a copy lacks cannot be told from a neighbour's: it is sent again",
        edits=(
            (
                "orchestrator/store/identity.py",
                "    return signed(chance, secret_of(c), identity_of(sql_rows.to_job(row), c))\n",
                "    return chance if row else signed(chance, secret_of(c), identity_of(sql_rows.to_job(row), c))\n",
            ),
        ),
        test=f"{RESTORED}::test_what_was_sent_after_the_backup_is_not_bought_again",
        hunt="restored",
    ),
    Planted(
        name="sends-while-it-searches",
        why="before the API was asked, what was sent already is sent again",
        edits=(
            (
                "orchestrator/store/sql/plan.sql",
                "   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)\n",
                "",
            ),
            (
                "orchestrator/store/sql/submit.sql",
                "'running'\n   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)\n",
                "'running'\n",
            ),
            (
                "orchestrator/store/sql/submit.sql",
                "'running')\n   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)\n",
                "'running')\n",
            ),
        ),
        test=f"{RESTORED}::test_while_it_looks_nothing_is_sent_and_the_job_says_why",
        hunt="restored",
    ),
    Planted(
        name="one-look-ends-the-search",
        why="one look may have been spoilt: what it missed is sent again",
        edits=(
            (
                "orchestrator/engine/reconcile.py",
                "scan.undecided == 0 and search.looks > 0 and",
                "scan.undecided == 0 and",
            ),
            (
                "orchestrator/store/sql/reconciliation.sql",
                " AND until IS NOT NULL AND looks >= 1\n",
                " AND until IS NOT NULL\n",
            ),
        ),
        test=f"{RESTORED}::test_the_search_ends_after_two_looks_that_found_nothing",
    ),
    Planted(
        name="planned-batches-dropped-while-it-searches",
        why="they may have been sent under their nonces: dropped, what is found under those is nobody's",
        edits=(
            (
                "orchestrator/store/sql/job_control.sql",
                "   AND (refusal IS NOT NULL OR NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL))\n",
                "",
            ),
        ),
        test=f"{RESTORED}::test_a_resume_while_it_looks_keeps_what_may_have_been_sent",
        hunt="restored",
    ),
    Planted(
        name="a-lost-batch-is-a-neighbours",
        why="a doubt reads a batch that a later state of the store made, and gives it away for good",
        edits=(
            (
                "orchestrator/engine/attribution.py",
                "    if verdict.nonce is not None:\n        job =",
                "    if verdict.nonce is None:\n        job =",
            ),
        ),
        test=f"{RESTORED}::test_a_job_that_was_handed_in_again_is_known_again",
        hunt="restored",
    ),
    Planted(
        name="an-event-without-its-notice",
        why="a job ends, and the endpoint that waits for it never hears of it",
        edits=(
            (
                "orchestrator/store/history.py",
                "    enqueue_notices(c, event, kind, new, job, batch, sql_rows.to_text(now))\n",
                "",
            ),
        ),
        test="tests/store/test_store_notices.py::"
        "test_notices_that_wait_in_an_older_store_are_kept_and_new_ones_say_the_same",
    ),
    Planted(
        name="writes-into-a-file-that-is-gone",
        why="what is acknowledged after the file was deleted is lost with the process, and bought again",
        edits=(
            (
                "orchestrator/store/connection.py",
                "    if files is not None:\n        files.check(connection)\n",
                "",
            ),
        ),
        test="tests/store/test_store_place.py::test_a_file_that_is_lost_takes_nothing_more_and_its_content_is_copied_aside",
    ),
    Planted(
        name="a-mark-that-was-put-back-counts",
        why="a whole folder is put back, mark and all: nothing shows that more was sent, and it is sent again",
        edits=(
            (
                "orchestrator/store/identity.py",
                ' or marked.line != meta["line"] or marked.touched\n',
                ' or marked.line != meta["line"]\n',
            ),
        ),
        test=f"{RESTORED}::test_a_folder_that_was_put_back_as_a_whole_is_found_out",
    ),
    Planted(
        name="lines-are-not-told-apart",
        why="of two lines of one store the counts may be equal: a copy of the other one sends again what this one sent",
        edits=(
            (
                "orchestrator/store/identity.py",
                ' or marked.line != meta["line"] or marked.touched\n',
                " or marked.touched\n",
            ),
        ),
        test=f"{RESTORED}::test_two_lines_of_one_store_are_told_apart",
    ),
    Planted(
        name="no-lock-by-inode",
        why="two engines reach one file by two names: each has its own log, and what one commits the other loses",
        edits=(
            (
                "orchestrator/store/ownership.py",
                "            if exc.errno != errno.EADDRINUSE:",
                "            if exc.errno != errno.ENOENT:",
            ),
        ),
        test="tests/store/test_store_place.py::test_an_engine_under_another_name_of_the_file_is_refused",
    ),
)
