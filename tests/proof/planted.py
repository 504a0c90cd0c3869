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
RETRYING: Final = "tests/engine/test_retrying.py"
UNREADABLE: Final = "tests/engine/test_unreadable_lines.py"
ODD: Final = "tests/engine/test_odd_entries.py"
WALKING: Final = "tests/engine/test_walking.py"
POISON: Final = "tests/engine/test_poison.py"
PAUSES: Final = "tests/engine/test_pauses.py"
SEVERAL: Final = "tests/engine/test_several_engines.py"
UNREACHABLE: Final = "tests/engine/test_unreachable_store.py"
ANSWERS: Final = "tests/provider/test_provider_create_answers.py"
CREATE: Final = "tests/provider/test_provider_create.py"
CONNECTION: Final = "tests/store/test_store_connection.py"
TRAPS: Final = "tests/store/test_postgres_traps.py"
STILL: Final = "tests/engine/test_standing_still.py"
RESTORED: Final = "tests/engine/test_restored_store.py"
STEPS: Final = "tests/store/test_store_steps.py"
SCHEMA: Final = "tests/store/test_store_schema.py"
FLEET_QUEUE: Final = "tests/fleet/test_fleet_queue.py"
FLEET: Final = "tests/fleet/test_fleet_sharing.py"
CACHING: Final = "tests/engine/test_caching.py"
MARKING: Final = "tests/engine/test_adding_markers.py"
PAYING: Final = "tests/engine/test_paying.py"
FLEET_SETTINGS: Final = "tests/fleet/test_fleet_settings.py"
PRICES: Final = "tests/unit/test_price_book.py"
CAPS: Final = "tests/engine/test_caps.py"
INVALID: Final = "tests/engine/test_invalid_answers.py"
PILOTS: Final = "tests/engine/test_pilots.py"
TRIALS: Final = "tests/engine/test_trials.py"
TWINS: Final = "tests/engine/test_twins.py"
CONTRACT: Final = "tests/store/conformance/test_conformance.py::test_the_contract"
MOVING: Final = "tests/store/test_moving.py"
PRIMED_LIFE: Final = (
    "tests/simulation/test_worlds.py::test_a_life_with_one_that_goes_ahead_may_end_at_any_kind_of_point"
)
HELD: Final = "tests/engine/test_kept_estimates.py::test_a_finished_job_is_held_against_its_estimate"
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
                "        return await self._store.intend(batch, api_calls.newest(page), page.meta, now, most)\n",
                "        headers = Headers(api_version=batch.api_version, betas=batch.betas)\n"
                "        answer = await self._context.provider.create("
                "BatchBody(self._params, batch, lambda _: self._store.sendable(1)), headers)\n"
                "        self.__dict__.setdefault('answers', {})[batch.id] = answer\n"
                "        return await self._store.intend(batch, api_calls.newest(page), page.meta, now, most)\n",
            ),
            (
                "orchestrator/engine/submit.py",
                "        answer = await self._post(submitting, headers)\n",
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
                "        answer = await self._post(submitting, headers)\n",
                "        answer = await self._post(submitting, headers)\n"
                "        if isinstance(answer, api_answers.Unclear):\n"
                "            answer = await self._post(submitting, headers)\n",
            ),
        ),
        test=f"{ADOPTED}::test_two_answers_lost_in_a_row_leave_two_batches_not_four",
        hunt="everything",
    ),
    Planted(
        name="answer-in-hand-is-dropped",
        why="each restart of the database makes a doubt of 20 minutes of every batch that is being sent",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "            except (errors.StoreFull, errors.StoreUnreachable) as exc:\n                log.warning(",
                "            except errors.StoreFull as exc:\n                log.warning(",
            ),
        ),
        test=f"{UNREACHABLE}::test_an_answer_in_hand_is_kept_until_it_is_stored",
        raises="StoreUnreachable",
    ),
    Planted(
        name="turn-is-not-taken",
        why="two daemons write at once: both see room in the window, and events do not commit in the order of their ids",
        edits=(
            (
                "orchestrator/store/postgres/link.py",
                '    TURN = f"BEGIN; SELECT pg_advisory_xact_lock({TURN_LOCK})"',
                '    TURN = "BEGIN; SELECT 1"',
            ),
        ),
        test=f"{TRAPS}::test_the_turn_is_one_at_a_time_and_free_steps_are_beside_it",
    ),
    Planted(
        name="another-timeline-is-not-seen",
        why="a standby without the last intents was promoted: what they sent is sent and paid for once more",
        edits=(
            (
                "orchestrator/store/postgres/link.py",
                "            if self._role in WRITERS and self._guards is not None:",
                "            if self._role is None and self._guards is not None:",
            ),
        ),
        test=f"{TRAPS}::test_a_running_store_looks_again_after_a_reconnect",
    ),
    Planted(
        name="recovery-sends-again",
        why="an intent without an answer is taken for a POST that never left: after a crash the batch is bought twice",
        edits=(
            (
                "orchestrator/engine/units.py",
                'store.doubt(batch, "the POST was interrupted", now)',
                'store.give_back(batch, "the POST was interrupted", now, cut=False)',
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
                "client = anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=False, **how)",
                "client = anthropic.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, follow_redirects=True, **how)",
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
    # --- a sender that stands still -----------------------------------------------------------------------------------
    Planted(
        name="the-last-bytes-are-not-asked-for",
        why="a sender stood still while its batch was given up and sent anew: what it lets go of then is a second batch",
        edits=(
            (
                "orchestrator/engine/request_body.py",
                "        yield held\n        await self._may_end(self._batch)\n",
                "        yield held\n",
            ),
        ),
        test=f"{STILL}::test_a_sender_that_wakes_too_late_ends_its_post_before_the_last_bytes",
        hunt="fleet alone",
    ),
    Planted(
        name="an-old-word-counts",
        why="the process stood still between the row's word and the last bytes: the row is another's by then",
        edits=(
            (
                "orchestrator/engine/request_body.py",
                "            fresh = self._clock.elapsed() - asked < _FRESH\n",
                "            fresh = self._clock.elapsed() >= asked\n",
            ),
        ),
        test=f"{STILL}::test_a_sender_that_wakes_too_late_ends_its_post_before_the_last_bytes",
    ),
    Planted(
        name="any-sender-may-end",
        why="the row is in doubt, or sent by somebody else: whoever asks may make a batch of it all the same",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                "SELECT 1 FROM batch WHERE id = :id AND state = 'submitting' AND fence = :fence\n",
                "SELECT 1 FROM batch WHERE id = :id AND :fence > 0\n",
            ),
        ),
        test=f"{STILL}::test_a_sender_that_wakes_too_late_ends_its_post_before_the_last_bytes",
    ),
    Planted(
        name="a-kernel-without-bounds",
        why="killed inside its POST, a process leaves 4 MB of body behind, which the kernel sends: a batch in the end",
        edits=(
            (
                "orchestrator/provider/sdk_clients.py",
                "    if not keep_alive:\n        client.event_hooks",
                "    if keep_alive:\n        client.event_hooks",
            ),
        ),
        test="tests/provider/test_provider_create_sockets.py::test_what_a_kernel_holds_of_a_create_is_bounded",
    ),
    Planted(
        name="a-late-yes-is-dropped",
        why="the API told the id of a batch that is in doubt, or given up by now: it is searched for, or sent again",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "            await self._late(batch, answer.batch, now)\n",
                "            pass\n",
            ),
        ),
        test=f"{STILL}::test_a_yes_that_comes_late_ends_the_doubt",
    ),
    Planted(
        name="a-late-yes-is-not-cancelled",
        why="a batch of which the requests are sent anew goes on at the API: every one of them is paid for twice",
        edits=(
            (
                "orchestrator/engine/attribution.py",
                "    if batch.state is BatchState.VOID:\n",
                "    if batch.state is BatchState.PLANNED:\n",
            ),
        ),
        test=f"{STILL}::test_a_yes_for_a_batch_that_was_given_up_is_told_at_once_and_cancelled",
    ),
    Planted(
        name="a-duplicate-that-was-told-early-is-not-kept",
        why="what a late answer told of has no results yet: paid for, and lost",
        edits=(
            (
                "orchestrator/engine/sweep.py",
                "                await self._keep(shown)\n",
                "",
            ),
        ),
        test=f"{STILL}::test_a_yes_for_a_batch_that_was_given_up_is_told_at_once_and_cancelled",
    ),
    Planted(
        name="many-at-once-after-a-failure",
        why="several daemons send side by side into a storm at the API: each answer that is lost is one more in doubt",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                "('create', 'create.asked') AND gate.tries > 0)",
                "('create', 'create.asked') AND gate.tries > 999)",
            ),
        ),
        test=f"{STILL}::test_after_a_create_that_failed_two_daemons_send_one_at_a_time",
    ),
    Planted(
        name="the-limit-is-asked-before-the-intent-only",
        why="two daemons each see room for one more batch: one over the account's limit",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                "'canceling')) < :most\n",
                "'canceling')) < :most + 1\n",
            ),
        ),
        test=f"{STILL}::test_two_daemons_that_see_room_for_one_more_send_one",
    ),
    Planted(
        name="the-gate-is-asked-outside-the-intent",
        why="a daemon that asked a moment before another stored the API's pause sends in it, against the API's own figure",
        edits=(
            (
                "orchestrator/store/sql/submit.sql",
                "('create', 'create.asked') AND gate.until > :now)",
                "('create', 'create.asked') AND gate.until > :now AND gate.tries > 999)",
            ),
        ),
        test=f"{STILL}::test_a_pause_that_one_daemon_stores_holds_whoever_asked_before",
    ),
    Planted(
        name="an-old-pause-takes-a-new-one-along",
        why="a create that works removes the pause that is over, and with it one that another daemon has just stored",
        edits=(
            (
                "orchestrator/store/sql/polling.sql",
                "WHERE name = :name AND set_at = coalesce(:set_at, set_at)",
                "WHERE name = :name AND set_at >= coalesce(:set_at, set_at)",
            ),
        ),
        test=f"{STILL}::test_a_create_that_works_does_not_end_a_pause_that_is_stored_meanwhile",
    ),
    Planted(
        name="a-killed-sender-buys",
        why="what its kernel still had is a batch ten seconds after its death: its requests were sent anew by then",
        edits=(
            (
                "orchestrator/provider/sdk_clients.py",
                "        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)\n",
                "",
            ),
        ),
        test="tests/crash/test_killed_senders.py::test_what_a_killed_sender_left_to_its_kernel_makes_no_second_batch",
    ),
    # --- what an answer means -----------------------------------------------------------------------------------------
    Planted(
        name="5xx-is-not-created",
        why="a 500 may come after the batch was made: sending again buys it twice",
        edits=(
            (
                "orchestrator/domain/create_outcome.py",
                '    return api_answers.Unclear(why=f"{status}: {exchange.message}")\n',
                "    if status >= 500:\n        return api_answers.NotSent(why=exchange.message, cut=False)\n"
                '    return api_answers.Unclear(why=f"{status}: {exchange.message}")\n',
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
                "    if exchange.handed_bytes < exchange.size_bytes:\n        return api_answers.NotSent(why=exchange.message, cut=",
                "    if exchange.handed_bytes <= exchange.size_bytes:\n        return api_answers.NotSent(why=exchange.message, cut=",
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
                "        is_over = waiting.must_be_listed(self._context.settings.doubt_wait, ours",
                "        is_over = waiting.must_be_listed(self._context.settings.doubt_wait * 0, ours",
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
                "if found or looks == 0 or scan.date is None:",
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
                "orchestrator/engine/doubt.py",
                "        await self._store.note_date([b for b in batches if b.doubt_date is None], top.meta.date)\n",
                "",
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
                "orchestrator/engine/doubt.py",
                "        ours = self._seen.age(batch.id, now)\n",
                "        ours = now - (batch.doubt_since or now)\n",
            ),
        ),
        test=f"{RUNNING}::test_a_clock_set_between_lives_does_not_end_the_wait",
    ),
    Planted(
        name="a-kernel-is-not-waited-for",
        why="what a dead sender's kernel still sends is a batch a minute later: called void by then, and bought twice",
        edits=(
            (
                "orchestrator/domain/waiting.py",
                "    return doubt_wait + min(doubt_wait, _DRAIN)\n",
                "    return doubt_wait\n",
            ),
        ),
        test=f"{VOID}::test_a_batch_that_never_was_is_void_after_the_wait_and_two_looks",
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
                "is_over and await self._store.end_wait(batch, date)",
                "is_over and await self._store.end_wait(batch, now)",
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
                "unreadable_since = CASE CAST(:verdict AS TEXT) WHEN 'unprovable' THEN unreadable_since END",
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
                "migrations/0005_stop_reasons.sql",
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
                '    c.execute(SQL["count_succeeded"], {"id": batch.job_id, "count": sum(moved.values())})\n',
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
                "migrations/0005_stop_reasons.sql",
                "BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;",
                "BEGIN SELECT 1; END;",
            ),
        ),
        test=f"{SCHEMA}::test_a_settled_request_is_frozen_in_every_column",
    ),
    Planted(
        name="duplicate-line-overwrites",
        why="of two different lines for one request the second wins in one chunk, the first in two: no one answer",
        edits=(("orchestrator/store/collect.py", "backwards = lines[::-1]", "backwards = lines[:]"),),
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
                "orchestrator/store/sql/settling.sql",
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
                "is_left = tries.attempts - tries.invalid + 1 < limits.attempts",
                "is_left = (tries.attempts or limits.attempts) + 1 < limits.attempts",
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
                "is_left = tries.attempts - tries.invalid + 1 < limits.attempts",
                "is_left = tries.attempts - tries.invalid + 1 <= 10 * limits.attempts",
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
                'await self._loop.ticked(turns.recover, "recover")',
                "await turns.recover(self._context.clock.now())",
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
                "return Settlement.AGAIN if is_left else Settlement.FAILED",
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
                "        if not found.numbers:\n            return await self._fail(job, offer.first, now) if offer.first is not None else _Step.NOTHING\n",
                "        if found.numbers:\n            return await self._fail(job, found.numbers[0], now)\n        if not found.numbers:\n            return _Step.NOTHING\n",
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
                "        return await self._writer.run(partial(in_transaction, in_context(step), files=self.files))\n",
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
                '        return {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}\n',
                '        return {"trust_env": True}\n',
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
                "            await self._witness.reach(intents)\n",
                "            pass\n",
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
                "            await self._witness.reach(intents)\n        return sending\n",
                "            self._late = intents\n        return sending\n",
            ),
            (
                "orchestrator/store/submit.py",
                '        if not move(batch, SQL["accept"], values, "in_progress", remote.id, now, c):\n',
                "        self._witness._mark.reach(self._late)\n"
                '        if not move(batch, SQL["accept"], values, "in_progress", remote.id, now, c):\n',
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
                "SELECT batch.* FROM batch JOIN job ON job.id = batch.job_id\n"
                " WHERE batch.state = 'planned' AND batch.refusal IS NULL AND job.state = 'running'\n"
                "   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)\n",
                "SELECT batch.* FROM batch JOIN job ON job.id = batch.job_id\n"
                " WHERE batch.state = 'planned' AND batch.refusal IS NULL AND job.state = 'running'\n",
            ),
            (
                "orchestrator/store/sql/submit.sql",
                "refusal IS NULL\n   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)\n",
                "refusal IS NULL\n",
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
    # --- a fleet ------------------------------------------------------------------------------------------------------
    Planted(
        name="queue-without-a-fence",
        why="a daemon that was given up wakes and takes stages and batches from the one that holds them: they are handed on",
        edits=(
            (
                "orchestrator/fleet/fenced_queue.py",
                "f\"{place} AND queue_manager_id = '{self.me}'\"",
                "place",
            ),
        ),
        test=f"{FLEET_QUEUE}::test_a_holder_that_wakes_late_does_not_disturb_the_new_one",
    ),
    Planted(
        name="a-unit-that-failed-is-deleted",
        why="PgQueuer's way: the database was away for a moment, and the batch waits for the next sweep",
        edits=(
            (
                "orchestrator/fleet/fenced_queue.py",
                'done = [each for each in job_status if each[1] == "successful"]',
                "done = job_status",
            ),
        ),
        test=f"{FLEET_QUEUE}::test_a_unit_that_failed_is_never_deleted",
        raises="TimeoutError",
    ),
    Planted(
        name="a-starting-engine-doubts-every-post",
        why="each start of a daemon costs every batch that the others are sending the wait of a doubt",
        edits=(
            (
                "orchestrator/engine/mend.py",
                "        moved = 0 if self._has_pulled_in else await self._pull_in(now)\n",
                "        moved = 0 if self._has_pulled_in else await self._pull_in(now)\n"
                "        for lost in await self._context.store.submit.stranded():\n"
                '            await self._context.store.submit.doubt(lost, "the POST was interrupted", now)\n',
            ),
        ),
        test=f"{SEVERAL}::test_whoever_holds_every_stage_leaves_the_post_of_another_engine_alone",
    ),
    Planted(
        name="a-unit-that-comes-again-sends-again",
        why="a batch whose sender counts as gone is sent a second time, while the first may be at the API",
        edits=(
            (
                "orchestrator/engine/units.py",
                '            if await store.doubt(batch, "the POST was interrupted", now):\n',
                '            await store.give_back(batch, "the POST was interrupted", now, cut=False)\n'
                "            return await self.look(UnitKind.SUBMIT, batch.id)\n"
                '            if await store.doubt(batch, "the POST was interrupted", now):\n',
            ),
        ),
        test=f"{SEVERAL}::test_a_batch_that_is_handed_out_while_it_is_sent_is_doubted_and_never_sent_again",
        hunt="fleet alone",
    ),
    Planted(
        name="window-asked-before-the-plan",
        why="planners that asked at the same moment each fill the same room: more is at the API than the account allows",
        edits=(
            (
                "orchestrator/store/plan.py",
                "            if load.batches >= window.batches or load.requests + len(pack.numbers) > window.requests:\n"
                "                raise _Moved\n",
                "",
            ),
        ),
        test=f"{SEVERAL}::test_two_planners_at_once_do_not_pass_the_window",
    ),
    Planted(
        name="two-looks-at-one-moment",
        why="what the list left out for a moment is void because two engines saw it: bought twice",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        looks = min(was.doubt_looks, after.doubt_looks)\n",
                "        looks = after.doubt_looks\n",
            ),
        ),
        test=f"{SEVERAL}::test_two_looks_of_two_engines_at_the_same_moment_are_one_look",
    ),
    Planted(
        name="a-failed-import-takes-others-away",
        why="an import that another engine is reading is discarded, because one of this engine's own failed",
        edits=(
            (
                "orchestrator/engine/ingest.py",
                "    left = [job for job in await context.store.ingest.importing() if job.public_id in failed]\n",
                "    left = await context.store.ingest.importing()\n",
            ),
        ),
        test="tests/engine/test_ingest.py::test_an_import_under_way_is_not_taken_for_a_leftover",
    ),
    Planted(
        name="looks-at-what-it-sends",
        why="after a reconnect a daemon calls its own POST in doubt: its answer, which comes a second later, counts no more",
        edits=(("orchestrator/fleet/fleet_session.py", "if unit in self._working.busy:", "if False:"),),
        test=f"{FLEET}::test_what_this_process_still_sends_is_not_looked_at_again",
    ),
    Planted(
        name="lost-commits-are-not-missed",
        why="a standby that lacks the last intents is promoted: what they sent is sent again",
        edits=(
            (
                "orchestrator/fleet/membership.py",
                "if seen is not None and await",
                "if seen is None and await",
            ),
        ),
        test=f"{FLEET}::test_a_database_that_lost_commits_ends_the_daemon",
        raises="TimeoutError",
    ),
    # --- a store that is moved to another database --------------------------------------------------------------------
    Planted(
        name="moved-file-still-opens",
        why="the file is used again after its store was moved: what is left is sent by both",
        edits=(("orchestrator/store/identity.py", "if word is not None and not adopt:", "if False:"),),
        test=f"{MOVING}::test_the_file_that_was_moved_says_where_to",
    ),
    Planted(
        name="moved-database-still-moves",
        why="a daemon that was stopped while its database was moved to a file wakes, and goes on sending",
        edits=(
            (
                "orchestrator/store/postgres/moving_stores.py",
                '        self.c.execute(cluster.SQL["close"])\n',
                "",
            ),
        ),
        test=f"{MOVING}::test_the_database_that_was_moved_says_where_to",
    ),
    Planted(
        name="both-stores-after-a-cut",
        why="a move is killed before the old store is given up: both can be used, and both send what is left",
        edits=(
            (
                "orchestrator/store/postgres/moving_stores.py",
                "    target.tell(now, moved.WAITING, origin)\n",
                "    target.tell(now, moved.ARRIVED, origin)\n",
            ),
        ),
        test=f"{MOVING}::test_a_move_that_ends_before_the_file_is_given_up_is_made_again",
    ),
    Planted(
        name="moved-while-sending",
        why="a batch whose sender died is moved as being sent: nobody looks it up before it is sent anew",
        edits=(("orchestrator/store/moving.py", "    if count:\n", "    if count < 0:\n"),),
        test=f"{MOVING}::test_a_batch_that_was_being_sent_is_settled_before",
    ),
    Planted(
        name="dump-put-back-unseen",
        why="a dump is put back into its own database: what was sent since it was made is sent again",
        edits=(
            (
                "migrations/postgres/0001_first.sql",
                "                          | 'orchestrator.meta'::regclass::bigint AS database,\n",
                "                          AS database,\n",
            ),
        ),
        test=f"{MOVING}::test_a_dump_that_is_put_back_is_a_copy_even_in_its_own_database",
    ),
    Planted(
        name="lost-commits-are-forgotten-at-the-next-start",
        why="a server's disk is put back; the daemon that misses commits ends, starts again, and sends them again",
        edits=(
            (
                "orchestrator/store/postgres/cluster.py",
                "            identity.begin_search(identity.Standing.BEHIND, 0, self._clock(), c)\n",
                "",
            ),
        ),
        test=f"{TRAPS}::test_a_running_store_looks_again_after_a_reconnect",
    ),
    Planted(
        name="lost-commits-that-the-queue-misses-are-forgotten",
        why="the same, where the queue's connections find it before the store's",
        edits=(("orchestrator/fleet/fleet_chores.py", "            await self._engine.distrust()\n", ""),),
        test=f"{FLEET}::test_a_database_that_lost_commits_ends_the_daemon",
    ),
    Planted(
        name="create-sent-again-is-a-second-batch",
        why="the SDK sends a create again because its answer was lost, and what it asks for is paid for twice",
        edits=(
            (
                "orchestrator/store/ingestion.py",
                "    return None if made is None else (IngestOutcome.SAME, made)\n",
                "    return None\n",
            ),
        ),
        test="tests/engine/test_keys.py::test_what_is_sent_again_without_a_key_is_the_job_before_for_a_while",
    ),
    Planted(
        name="a-later-answer-shortens-a-pause",
        why="the API asked for a minute, and is asked again after the five seconds that another answer of then has",
        edits=(
            (
                "orchestrator/store/sql/polling.sql",
                "CASE WHEN gate.until > excluded.until THEN gate.until ELSE excluded.until END",
                "excluded.until",
            ),
        ),
        test="tests/store/conformance/test_conformance.py::test_the_contract[sqlite-a_gate_counts_refusals_until_a_call_works]",
    ),
    Planted(
        name="an-earlier-posts-yes-ends-the-pause-the-api-asked-for",
        why="of several POSTs one is put off and another works: the API is asked again at once, against its retry-after",
        edits=(
            (
                "orchestrator/engine/api_calls.py",
                "            if gate.name == name or gate.until <= now:\n",
                "            if gate.name:\n",
            ),
        ),
        test=f"{SEVERAL}::test_a_post_that_was_sent_before_does_not_end_the_pause_that_the_api_asked_for",
    ),
    Planted(
        name="a-daemon-without-webhooks-ends-those-of-others",
        why="the notices of a whole fleet are given up because the settings on one machine say nothing of webhooks",
        edits=(
            (
                "orchestrator/daemon.py",
                "    elif is_daemon and settings.is_set(WEBHOOKS):\n",
                "    elif is_daemon:\n",
            ),
        ),
        test=f"{FLEET_SETTINGS}::test_who_says_nothing_of_webhooks_turns_off_nobodys",
    ),
    Planted(
        name="a-command-holds-retention",
        why="a `run` of a day beside daemons holds the stage that deletes by their settings, and deletes nothing",
        edits=(("orchestrator/engine/units.py", "    if keep_probing or is_alone:", "    if keep_probing or True:"),),
        test=f"{FLEET_SETTINGS}::test_a_command_leaves_retention_to_the_daemons",
    ),
    # --- what a token costs -------------------------------------------------------------------------------------------
    Planted(
        name="standard-price-for-a-missing-batch-price",
        why="genai-prices gives it in silence: every figure of a retired model, or of a day long ago, is twice the bill",
        edits=(
            (
                "orchestrator/prices/package_prices.py",
                "    share = _HALF if batch == standard else Decimal(1)",
                "    share = Decimal(1)",
            ),
        ),
        test=f"{PRICES}::test_a_batch_price_is_half_also_where_the_package_has_none",
    ),
    Planted(
        name="prefix-matched-model",
        why="a model that nobody knows is priced as the one that its name begins with, and a cap trusts that",
        edits=(
            (
                "orchestrator/prices/package_prices.py",
                "        return found if _is_called(model, found.id) else None\n",
                "        return found\n",
            ),
        ),
        test=f"{PRICES}::test_a_name_that_only_begins_like_a_model_has_no_price",
    ),
    Planted(
        name="unknown-price-is-zero",
        why="what has no price is free: no cap ever holds it, and the bill is a surprise",
        edits=(
            (
                "orchestrator/prices/price_book.py",
                "        if found is None:\n            return None\n",
                "        if found is None:\n"
                '            return Price(model=model, day=day, rates=Rates(0, 0, 0, 0, 0), source="unknown")\n',
            ),
            (
                "orchestrator/prices/price_book.py",
                "from orchestrator.ports.runtime import Price, Prices\n",
                "from orchestrator.domain.billing import Rates\nfrom orchestrator.ports.runtime import Price, Prices\n",
            ),
        ),
        test=f"{PRICES}::test_a_name_that_only_begins_like_a_model_has_no_price",
    ),
    # --- what it costs ------------------------------------------------------------------------------------------------
    Planted(
        name="cache-write-split-lost",
        why="what is written into the cache for an hour is priced as for five minutes: 1.25 times the input, not 2",
        edits=(
            (
                "orchestrator/domain/result_lines.py",
                "message.stop_reason, fresh, output, read, write_5m, write_1h,\n",
                "message.stop_reason, fresh, output, read, five + hour, 0,\n",
            ),
        ),
        test=f"{PAYING}::test_a_cache_that_lives_an_hour_is_written_at_its_own_price",
    ),
    Planted(
        name="sums-are-priced-instead-of-rows",
        why="a chunk of short prompts is billed as one long one: Haiku 5.5 at five times its price",
        edits=(
            (
                "orchestrator/store/ledger.py",
                "map(sums_of_results, results)):\n        lines[price] = lines.get(price, Sums()).plus(sums)\n",
                "map(sums_of_results, results)):\n"
                "        from orchestrator.domain.billing import cost_of\n"
                "        sums = sums._replace(nanos=cost_of(Tokens(*sums[1:7]), next(iter(prices)).rates))\n"
                "        lines[price] = lines.get(price, Sums()).plus(sums)\n",
            ),
        ),
        test=f"{PAYING}::test_a_long_prompt_makes_only_its_own_request_dear",
    ),
    Planted(
        name="unknown-costs-nothing",
        why="a model without a price is free: the sum is too low, and nobody is told",
        edits=(
            ("orchestrator/engine/pricing.py", "            return tariff, None\n", "            return tariff, 0\n"),
        ),
        test=f"{PAYING}::test_an_unknown_price_makes_a_cost_unknown_and_not_nothing",
    ),
    Planted(
        name="a-repeated-download-bills-again",
        why="whoever downloads twice has spent twice, on paper: a budget ends early",
        edits=(
            (
                "orchestrator/store/collect.py",
                "    return _store(batch, {key: lines[key] for key in _waiting(batch, list(lines), c)}, now, c)\n",
                "    account, told = ledger.Account(batch.job_id, batch.id), list(lines.values())\n"
                "    ledger.enter(account, Kind.KEPT, _paid(told), ledger.price_ids_of(told, c), c)\n"
                "    return _store(batch, {key: lines[key] for key in _waiting(batch, list(lines), c)}, now, c)\n",
            ),
        ),
        test="tests/store/test_store_ledger.py::test_a_repeated_download_bills_nothing_twice",
    ),
    Planted(
        name="params-are-counted-as-they-are",
        why="the API refuses a count with max_tokens in it, so every estimate would be rough",
        edits=(("orchestrator/provider/client.py", "body = parsing.countable(params)", "body = params"),),
        test="tests/provider/test_provider_counts.py::test_only_the_fields_that_a_count_takes_are_sent",
    ),
    Planted(
        name="a-cache-write-is-no-dearer",
        why="a prompt that is written to the cache for an hour costs twice: a bound without it is none",
        edits=(
            ("orchestrator/domain/token_bounds.py", "return max(fresh, read, written), output", "return fresh, output"),
        ),
        test="tests/unit/test_token_bounds.py::test_a_marker_for_the_cache_may_be_written",
    ),
    Planted(
        name="a-document-has-text-alone",
        why="images inside of it are billed as images, and a cap is exceeded by them",
        edits=(
            (
                "orchestrator/domain/token_bounds.py",
                "inside = block.content or (_RAW if source is None else source.content)",
                "inside = block.content",
            ),
        ),
        test="tests/unit/test_token_bounds.py::test_an_image_counts_wherever_it_stands",
    ),
    Planted(
        name="what-has-no-bound-has-an-upper-end",
        why="searches are no part of a prompt: a program believes an upper end that is a hundred times too low",
        edits=(
            (
                "orchestrator/estimate/costing.py",
                "    if census.unbounded:\n        cost",
                "    if False:\n        cost",
            ),
        ),
        test="tests/unit/test_estimates.py::test_what_has_no_bound_is_named",
    ),
    Planted(
        name="an-escape-hides-what-costs",
        why="a word that is looked for as bytes, a server tool or an image, may be written with an escape",
        edits=(("orchestrator/domain/token_bounds.py", "    params = plain_ascii(params)\n", ""),),
        test="tests/unit/test_token_bounds.py::test_an_escape_hides_nothing",
    ),
    Planted(
        name="a-long-prompt-is-never-cheaper",
        why="by a list where it is, a prompt that turns out shorter than its bound costs more than the bound",
        edits=(
            (
                "orchestrator/domain/token_bounds.py",
                "used, output = max(used, long_used), max(output, long_output)",
                "used, output = long_used, long_output",
            ),
        ),
        test="tests/unit/test_token_bounds.py::test_an_odd_list_of_prices_makes_no_bound_too_low",
    ),
    Planted(
        name="an-allowance-is-all-that-is-reserved",
        why="one answer to a long prompt may cost more than the allowance, and a cap is exceeded at once",
        edits=(
            (
                "orchestrator/engine/worst_costs.py",
                "return _kept(max(once, self._allowance))",
                "return _kept(self._allowance)",
            ),
        ),
        test="tests/unit/test_worst_costs.py::test_an_allowance_is_no_less_than_one_answer",
    ),
    Planted(
        name="any-amount-can-be-reserved",
        why="a store has no number for it, so that a stage of the engine fails again and again",
        edits=(("orchestrator/engine/worst_costs.py", "if nanos > money.MOST_NANOS:", "if nanos < 0:"),),
        test="tests/unit/test_worst_costs.py::test_a_cost_that_no_store_holds_is_refused_with_words",
    ),
    Planted(
        name="what-is-not-known-is-free",
        why="a field that is newer than this program may bring words, and a cap is exceeded by them",
        edits=(
            (
                "orchestrator/domain/token_bounds.py",
                " + len(request.system) + request.others",
                " + len(request.system)",
            ),
        ),
        test="tests/unit/test_token_bounds.py::test_a_field_that_nothing_is_known_of_is_counted_by_its_bytes",
    ),
    Planted(
        name="a-count-of-nothing-is-believed",
        why="an API that counts nothing makes every input free, and the estimate says that it is exact",
        edits=(("orchestrator/estimate/survey.py", "if tokens > 0:", "if tokens >= 0:"),),
        test="tests/unit/test_estimates.py::test_a_count_of_nothing_is_no_count",
    ),
    Planted(
        name="an-estimate-without-a-price-is-nothing",
        why="a model that nobody knows the price of looks free before it is sent",
        edits=(("orchestrator/estimate/costing.py", "if priced or has_all else None", "if True else None"),),
        test="tests/unit/test_estimates.py::test_a_model_without_a_price_costs_an_unknown_sum",
    ),
    Planted(
        name="much-is-spent-without-a-question",
        why="without a terminal nobody says yes, and it is sent all the same",
        edits=(
            ("orchestrator/views/cost_question.py", "if many and (is_open or most > limit):", "if many and is_open:"),
        ),
        test="tests/faces/test_cli_confirm.py::test_without_a_terminal_much_needs_a_yes",
    ),
    Planted(
        name="what-nobody-can-bound-is-not-asked-about",
        why="web searches and a model without a price add nothing to what may be spent at most, and are sent unasked",
        edits=(
            (
                "orchestrator/views/cost_question.py",
                "if many and (is_open or most > limit):",
                "if many and most > limit:",
            ),
        ),
        test="tests/faces/test_cli_confirm.py::test_what_nobody_can_bound_is_always_asked_about",
    ),
    Planted(
        name="a-job-file-confirms-its-own-cost",
        why="a cap that somebody else wrote into job.toml is taken for a yes, and much is sent unasked",
        edits=(("orchestrator/cli/confirm_cost.py", "if limit is not None and cap > limit:", "if limit is None:"),),
        test="tests/faces/test_cli_job_files.py::test_a_cap_of_a_file_confirms_nothing_and_raises_none",
    ),
    Planted(
        name="a-job-file-raises-the-cap-of-a-job",
        why="job.toml is changed by a pull, and the job that a person had capped goes on and costs more",
        edits=(
            (
                "orchestrator/cli/confirm_cost.py",
                "if cap is not None and told is not None and told > cap:",
                "if cap is not None and told is not None and told > 100 * cap:",
            ),
        ),
        test="tests/faces/test_cli_job_files.py::test_a_cap_of_a_file_confirms_nothing_and_raises_none",
    ),
    Planted(
        name="a-link-leads-out-of-the-folder-of-a-job-file",
        why="job.toml names a link beside it, and a file of the home is read, sent, or overwritten",
        edits=(
            (
                "orchestrator/cli/job_files.py",
                "os.path.commonpath([root, os.path.realpath(path)])",
                "os.path.commonpath([root, os.path.abspath(path)])",
            ),
        ),
        test="tests/unit/test_job_files.py::test_a_path_stays_in_the_folder",
    ),
    Planted(
        name="a-job-file-approves-spending",
        why="job.toml says yes = true, and nobody is asked",
        edits=(
            (
                "orchestrator/cli/job_files.py",
                "return _ONLY_SAID.get(name, None if name in _OF_A_JOB else _HOW)",
                "return None",
            ),
        ),
        test="tests/unit/test_job_files.py::test_what_a_job_file_does_not_decide",
    ),
    Planted(
        name="a-yes-to-a-little-is-a-yes-to-all",
        why="the box of the form is ticked for one file, and a dearer one is taken in with it",
        edits=(
            ("orchestrator/http_api/dashboard/new_job.py", "if question.most > confirmed or", "if not confirmed or"),
        ),
        test="tests/faces/test_dashboard_pages.py::test_a_form_asks_before_much_is_spent",
    ),
    Planted(
        name="the-table-of-a-job-is-replaced-by-its-answers",
        why="`results -o reviews.csv` takes the table that the job was made of for an earlier output, and the rows are gone",
        edits=(
            (
                "orchestrator/client/results_table.py",
                "        if not self._table.has_answers:\n            return False",
                "        if not self._table.has_answers:\n            return True",
            ),
        ),
        test="tests/faces/test_result_tables.py::test_a_table_with_anything_else_in_it_is_refused_and_stays",
    ),
    Planted(
        name="any-table-with-the-columns-of-results-is-ours",
        why="paid answers of another job, with the same ids and columns, are overwritten",
        edits=(("orchestrator/client/results_table.py", " else cells) == wanted:", " else cells):"),),
        test="tests/faces/test_result_tables.py::test_the_jobs_own_file_is_replaced_and_anothers_is_not",
    ),
    Planted(
        name="a-table-forgets-the-columns-of-later-rows",
        why="values of a member that the first row lacks are in no column: data of the user is left out",
        edits=(
            (
                "orchestrator/domain/row_columns.py",
                "        seen = self._seen\n",
                "        if self._seen:\n            return\n        seen = self._seen\n",
            ),
        ),
        test="tests/unit/test_answer_tables.py::test_a_row_comes_before_its_answer",
    ),
    # --- the prompt cache ---------------------------------------------------------------------------------------------
    Planted(
        name="nobody-waits-for-what-was-sent-ahead",
        why="the others start while the first one is still on its way: each of them writes the prefix, none reads it",
        edits=(
            (
                "orchestrator/domain/priming.py",
                "        return _while_ahead(group, now)\n",
                "        return Readiness.READY\n",
            ),
        ),
        test=f"{CACHING}::test_one_request_of_a_marked_prefix_goes_ahead_and_the_others_read_it",
    ),
    Planted(
        name="a-request-that-failed-ahead-is-waited-for",
        why="its prefix is never written, and the others wait for ever",
        edits=(
            (
                "orchestrator/domain/priming.py",
                "return Readiness.READY if group.tries >= _MOST_TRIES else Readiness.COLD",
                "return Readiness.WAITS",
            ),
        ),
        test=f"{CACHING}::test_a_request_that_fails_ahead_of_the_others_does_not_hold_them_for_ever",
    ),
    Planted(
        name="what-goes-ahead-is-waited-for-without-end",
        why="a batch that takes a day holds up all the others, and the job is two days late",
        edits=(
            ("orchestrator/domain/priming.py", "return Readiness.LATE if is_late", "return Readiness.WAITS if is_late"),
        ),
        test="tests/engine/test_cache_reports.py::test_what_goes_ahead_is_not_waited_for_without_end",
    ),
    Planted(
        name="marker-stored-into-params",
        why="what a person handed in is not what the store has: hashes, results and a second hand-in do not fit it",
        edits=(
            (
                "orchestrator/store/ingestion.py",
                "rows = [(first + i, line.custom_id, line.line, len(line.params)) for i, line in enumerate(lines)]",
                "from orchestrator.domain import cache_marker\n\n"
                "    marks = cache_marker.LikelyMarks()\n"
                "    lines = [type(line)(line.line, line.custom_id, marks.marked(line.params))"
                " if added[0] == 'auto' else line for line in lines]\n"
                "    rows = [(first + i, line.custom_id, line.line, len(line.params)) for i, line in enumerate(lines)]",
            ),
        ),
        test=f"{MARKING}::test_a_marker_is_added_on_the_way_and_nothing_that_is_stored_has_one",
    ),
    Planted(
        name="a-marker-weighs-nothing",
        why="a batch is planned without the bytes of its markers: it is over the limit, or not what was planned",
        edits=(("orchestrator/engine/sending_ahead.py", "more = MARKER_BYTES if is_marked else 0", "more = 0"),),
        test=f"{MARKING}::test_a_marked_request_is_its_bytes_longer_in_the_plan_and_on_the_wire",
    ),
    Planted(
        name="markers-are-added-whatever-they-cost",
        why="each request of a cold batch writes what none reads, at twice the price, to the end of the job",
        edits=(("orchestrator/engine/sending_ahead.py", "await self._store.loss(job.id) is None", "True"),),
        test=f"{MARKING}::test_markers_are_no_more_added_once_they_cost_more_than_none",
    ),
    Planted(
        name="a-marked-request-costs-as-a-plain-one",
        why="it may be written to the cache, at twice the price: the cap is passed",
        edits=(
            (
                "orchestrator/engine/affording.py",
                "params = with_marker(stored, marks[number]) if number in marks else stored",
                "params = stored + b' ' * 73 if number in marks else stored",
            ),
        ),
        test=f"{MARKING}::test_under_a_cap_a_marked_request_is_reserved_as_written",
    ),
    Planted(
        name="markers-of-its-own-are-let-in",
        why="two markers where one is asked for: what is shared is not what was reckoned with",
        edits=(("orchestrator/ports/streams.py", "if field is None:", "if True:"),),
        test=f"{MARKING}::test_requests_with_markers_of_their_own_are_refused_by_line_and_field",
    ),
    # --- caps ---------------------------------------------------------------------------------------------------------
    Planted(
        name="void-frees-its-reservation",
        why="a batch that turns up late is billed beside the one that was sent in its place: more than the cap",
        edits=(
            (
                "orchestrator/store/doubt.py",
                '        c.execute(SQL["release"], {"id": batch.id})\n        return True\n',
                '        c.execute(SQL["release"], {"id": batch.id})\n'
                "        reservations.free(batch.id, batch.job_id, c)\n        return True\n",
            ),
        ),
        test=f"{CAPS}::test_a_late_duplicate_is_paid_out_of_what_its_void_batch_reserved",
        hunt="capped late",
    ),
    Planted(
        name="cap-asked-beside-the-intent",
        why="what was looked at before the transaction that sends is passed by what another sent meanwhile",
        edits=(
            (
                "orchestrator/store/sql/reservations.sql",
                "(cap_nanos IS NULL OR spent_nanos + reserved_nanos + :nanos <= cap_nanos)",
                "(1 = 1)",
            ),
        ),
        test=f"{CAPS}::test_a_lowered_cap_takes_back_what_is_planned",
    ),
    Planted(
        name="budget-asked-beside-the-intent",
        why="two jobs, or two daemons, that each saw enough left spend it twice",
        edits=(
            (
                "orchestrator/store/sql/reservations.sql",
                "AND spending.spent_nanos + spending.reserved_nanos + :nanos\n",
                "AND 1 = 2 AND spending.spent_nanos + spending.reserved_nanos + :nanos\n",
            ),
        ),
        test=f"{CAPS}::test_a_lowered_budget_takes_back_what_is_planned",
        hunt="fleet budgeted",
    ),
    Planted(
        name="a-day-of-our-clock",
        why="a batch is billed on the day on which the API made it, whose budget another job has used up",
        edits=(
            ("orchestrator/store/sql/reservations.sql", "coalesce(cursor_date, sent_at), worst", "sent_at, worst"),
            (
                "orchestrator/engine/affording.py",
                "return await self._store.limits(job.id, self._context.api_time(now))",
                "return await self._store.limits(job.id, now)",
            ),
        ),
        test=f"{CAPS}::test_the_day_is_the_one_of_the_api",
        hunt="budgeted",
    ),
    Planted(
        name="a-day-shown-by-our-clock",
        why="a person sees nothing spent today, while the budget of the API's day is used up",
        edits=(
            (
                "orchestrator/store/read_costs.py",
                "shared_limits(api_time(now, self._c), self._c)",
                "shared_limits(now, self._c)",
            ),
        ),
        test=f"{CAPS}::test_the_day_is_the_one_of_the_api",
    ),
    Planted(
        name="a-lowered-budget-lets-go",
        why="jobs that a budget had stopped go on because it was lowered",
        edits=(
            (
                "orchestrator/domain/budgets.py",
                "return before is not None and (cap is None or cap > before)",
                "return before != cap",
            ),
        ),
        test=f"{CONTRACT}[sqlite-a_job_that_a_cap_stops_goes_on_when_it_is_raised]",
    ),
    Planted(
        name="a-bound-of-old-prices",
        why="a batch that was planned before the price list was changed is sent for many times what was reserved",
        edits=(
            (
                "orchestrator/engine/submit.py",
                "        await self._affording.bound_anew(batch, now)\n",
                "",
            ),
        ),
        test=f"{CAPS}::test_a_batch_that_was_planned_at_old_prices_is_bounded_anew_before_it_is_sent",
    ),
    Planted(
        name="a-bound-of-another-day",
        why="a price that rises on a day for which nothing was planned is passed by",
        edits=(
            (
                "orchestrator/engine/worst_costs.py",
                "        return self._days == _days(now) and all(\n",
                "        return all(\n",
            ),
        ),
        test=f"{CAPS}::test_a_batch_that_is_sent_on_another_day_is_bounded_anew",
    ),
    Planted(
        name="a-void-of-before-the-cap",
        why="a batch that turns up after a cap was set is billed beside all that the cap allows",
        edits=(
            (
                "orchestrator/engine/doubt.py",
                "        await self._affording.hold(batch, scan.now)\n",
                "",
            ),
        ),
        test=f"{CAPS}::test_a_void_batch_of_before_the_cap_counts_under_it",
    ),
    Planted(
        name="a-wrong-bound-is-silent",
        why="a cap is passed, and nobody learns that its bounds cannot be trusted",
        edits=(("orchestrator/store/settling.py", "if worst is None or billed <= worst:", "if worst is not None:"),),
        test=f"{CAPS}::test_a_batch_that_costs_more_than_its_bound_is_told_of",
    ),
    Planted(
        name="unbooked-is-not-spent",
        why="what was billed of batches that are still downloaded is spent once more: a budget is passed by as much",
        edits=(
            (
                "orchestrator/store/sql/reservations.sql",
                "(SELECT coalesce(sum(unbooked_spent - unbooked_taken), 0) FROM batch",
                "(SELECT 0 FROM meta",
            ),
            (
                "orchestrator/store/sql/reservations.sql",
                "                              WHERE (unbooked_spent <> 0 OR unbooked_taken <> 0)\n"
                "                                AND substr(created_at, 1, length(spending.key)) = spending.key) > ",
                ") > ",
            ),
        ),
        test=f"{CONTRACT}[sqlite-what_is_billed_counts_before_its_batch_is_settled]",
    ),
    Planted(
        name="a-settled-batch-books-nothing",
        why="the day forgets what a batch cost as soon as it is settled, and all of it may be spent again",
        edits=(
            (
                "orchestrator/store/reservations.py",
                "        _book(where, nanos, where, taken, c)\n    free_if_known",
                "    free_if_known",
            ),
        ),
        test=f"{CONTRACT}[sqlite-what_is_billed_counts_before_its_batch_is_settled]",
    ),
    Planted(
        name="every-answer-writes-the-books",
        why="daemons that store the answers of different jobs wait for each other's commits, slice by slice",
        edits=(
            (
                "orchestrator/store/reservations.py",
                "    is_later = held.is_taken_in and held.books == where\n",
                "    is_later = False\n",
            ),
        ),
        test="tests/store/test_postgres_traps.py::test_the_answers_of_two_jobs_are_stored_side_by_side",
    ),
    Planted(
        name="unknown-cost-frees-the-rest",
        why="an answer without a price counts as nothing, and what it cost is spent once more",
        edits=(
            (
                "orchestrator/store/reservations.py",
                ' and not c.execute(SQL["unpriced"], {"id": batch}).fetchone()[0]:\n',
                ":\n",
            ),
        ),
        test=f"{CAPS}::test_an_answer_without_a_price_holds_what_is_left_of_its_batch",
    ),
    Planted(
        name="unknown-answers-hold-nothing",
        why="an answer that does not say what it costs is taken to be free, and its money is spent once more",
        edits=(
            (
                "orchestrator/engine/settle.py",
                "            if worst is not None:\n",
                "            if (worst := 0) is not None:\n",
            ),
        ),
        test=f"{CAPS}::test_an_answer_of_an_unknown_kind_holds_no_more_than_it_can_cost",
    ),
    Planted(
        name="missing-results-cost-nothing",
        why="what the API billed and never showed is spent once more",
        edits=(
            (
                "orchestrator/store/collect.py",
                "            ledger.enter_assumed(account, day, len(keys), assumed_nanos, c)\n",
                "            ledger.enter_assumed(account, day, len(keys), 0, c)\n",
            ),
        ),
        test=f"{CAPS}::test_results_that_never_come_are_taken_as_spent",
    ),
    # --- identical requests -------------------------------------------------------------------------------------------
    Planted(
        name="a-twin-is-sent",
        why="identical requests are paid for as often as they were handed in, although their person said once",
        edits=(
            (
                "orchestrator/store/sql/plan.sql",
                "WHERE job_id = :job_id AND state = 'queued' AND twin_of IS NULL ORDER BY id",
                "WHERE job_id = :job_id AND state = 'queued' ORDER BY id",
            ),
        ),
        test=f"{TWINS}::test_twins_wait_until_the_batch_of_their_original_is_collected",
        raises="IntegrityError",
    ),
    Planted(
        name="the-schema-lets-a-twin-be-sent",
        why="whatever plans a twin, a batch would have it",
        edits=(
            (
                "migrations/0019_twins.sql",
                "  OR (NEW.state = 'batched' AND NEW.twin_of IS NOT NULL)\n",
                "",
            ),
        ),
        test=f"{SCHEMA}::test_a_twin_is_never_in_a_batch_and_ends_as_its_original_does",
    ),
    Planted(
        name="a-twin-ends-before-its-original",
        why="it would be answered with what is not there, and be frozen so",
        edits=(
            (
                "migrations/0019_twins.sql",
                "AND NEW.state IS NOT (SELECT state FROM request WHERE id = NEW.twin_of)",
                "AND NEW.state = 'queued'",
            ),
        ),
        test=f"{SCHEMA}::test_a_twin_is_never_in_a_batch_and_ends_as_its_original_does",
    ),
    Planted(
        name="a-twin-waits-for-the-end-of-its-job",
        why="who reads answers as they come gets it late, after the batch of its original",
        edits=(
            (
                "orchestrator/store/settling.py",
                "            if twins.follow_batch(batch.job_id, batch.id, c):\n                return {}\n",
                "",
            ),
        ),
        test=f"{TWINS}::test_twins_are_answered_with_the_batch_of_their_original_while_others_are_under_way",
    ),
    Planted(
        name="twins-of-what-no-batch-took-wait-for-ever",
        why="nothing of the job is left to do, and it never ends",
        edits=(
            (
                "orchestrator/engine/settle.py",
                "        while count := await self._store.follow_left_over():\n            moved += count\n",
                "",
            ),
        ),
        test=f"{TWINS}::test_a_twin_of_a_request_that_no_batch_takes_fails_with_it",
        hunt="identical",
    ),
    Planted(
        name="a-twins-cost-is-counted",
        why="the costs of the requests are more than what the job has cost",
        edits=(
            (
                "orchestrator/store/sql/requests.sql",
                "given again.\nSELECT request.id, request.custom_id, request.state, result.body,\n       CASE WHEN request.twin_of IS NOT NULL THEN 0",
                "given again.\nSELECT request.id, request.custom_id, request.state, result.body,\n       CASE WHEN request.twin_of = 0 THEN 0",
            ),
        ),
        test=f"{TWINS}::test_of_a_thousand_of_which_400_are_identical_601_are_sent_and_all_are_answered",
    ),
    Planted(
        name="a-twins-cost-is-unknown",
        why="what is known to have cost nothing would be told as an answer without a price",
        edits=(
            (
                "orchestrator/store/read_costs.py",
                "job.requests.succeeded - job.twins_succeeded - sum(",
                "job.requests.succeeded - sum(",
            ),
        ),
        test=f"{TWINS}::test_of_a_thousand_of_which_400_are_identical_601_are_sent_and_all_are_answered",
    ),
    Planted(
        name="twins-are-in-the-estimate",
        why="a job is expected to cost what nobody will pay",
        edits=(
            (
                "orchestrator/engine/ingest.py",
                "                    reading.tally.leave_out(many)\n",
                "                    pass\n",
            ),
        ),
        test=f"{TWINS}::test_what_is_not_sent_is_in_no_estimate_no_prefix_and_no_pilot",
    ),
    Planted(
        name="a-retry-leaves-the-twins",
        why="they show a result that is gone, and never get the new one",
        edits=(
            (
                "orchestrator/store/retrying.py",
                "    twins.queue_again(job, keys, ends, c)\n",
                "",
            ),
        ),
        test=f"{TWINS}::test_twins_fail_as_their_original_does_and_go_again_with_it",
        hunt="identical",
    ),
    Planted(
        name="a-retry-leaves-twins-that-had-succeeded",
        why="their answer is taken from them, and they count as successes without one",
        edits=(
            (
                "orchestrator/store/sql/twins.sql",
                "AND state IN ('succeeded', 'failed', 'canceled')\n\n-- name: count_queued_again",
                "AND state IN ('failed', 'canceled')\n\n-- name: count_queued_again",
            ),
        ),
        test=f"{RETRYING}::test_twins_go_again_with_an_original_that_had_succeeded",
    ),
    Planted(
        name="who-comes-later-is-a-twin-of-what-was-changed",
        why="a request gets the answer to other params than its own",
        edits=(
            (
                "orchestrator/store/sql/fingerprints.sql",
                " AND request.change_id IS NULL",
                "",
            ),
        ),
        test=f"{RETRYING}::test_who_comes_later_is_no_twin_of_a_changed_request",
    ),
    Planted(
        name="a-retry-leaves-cut-answers-that-are-invalid",
        why="the command that errors names for them queues nothing",
        edits=(("orchestrator/store/retrying.py", "for stop in sorted(stops & CUT_STOPS)", "for stop in ()"),),
        test=f"{RETRYING}::test_invalid_answers_that_were_cut_are_taken_by_why_they_ended",
    ),
    Planted(
        name="the-cost-of-a-replaced-answer-vanishes",
        why="what was paid for an answer that is asked for again is in no row: sums of rows are less than what was spent",
        edits=(
            (
                "orchestrator/store/sql/retrying.sql",
                "result.price_id, result.cost_nanos, result.searches,\n       result.extra\n  FROM json_each",
                "result.price_id, 0, result.searches,\n       result.extra\n  FROM json_each",
            ),
        ),
        test=f"{RETRYING}::test_answers_that_were_paid_for_are_asked_for_again_and_stay_in_the_sum",
        hunt="mended",
    ),
    Planted(
        name="a-change-is-not-sent",
        why="what a person changed of a request is shown, and the old params are sent and paid for once more",
        edits=(
            (
                "orchestrator/store/submit.py",
                "taken.append((key, changes.params(block, key, params_bytes, change)))",
                "taken.append((key, block.part(key)))",
            ),
        ),
        test=f"{RETRYING}::test_other_params_are_sent_and_the_first_ones_are_kept",
        raises="StoreError",
    ),
    Planted(
        name="a-change-is-not-reckoned-with",
        why="a cap reserves what the old params cost at most, and more is spent",
        edits=(
            (
                "orchestrator/store/budgets.py",
                "changes.params(block, key, size, change)",
                "block.part(key)",
            ),
        ),
        test=f"{RETRYING}::test_a_cap_holds_with_what_is_sent",
        raises="StoreError",
    ),
    Planted(
        name="a-retry-checks-as-it-goes",
        why="of a change that some requests cannot take half is queued, and paid for, before that is told",
        edits=(
            (
                "orchestrator/engine/hand_in.py",
                "        changer.changed(some)\n",
                "",
            ),
        ),
        test=f"{RETRYING}::test_of_several_pages_none_is_queued_if_one_is_refused",
    ),
    Planted(
        name="a-cancel-takes-twins-of-what-is-answered",
        why="an answer that is paid for is not given to all who wait for it",
        edits=(
            (
                "orchestrator/store/sql/job_control.sql",
                "AND state = 'queued' AND twin_of IS NULL LIMIT 10000",
                "AND state = 'queued' LIMIT 10000",
            ),
        ),
        test=f"{TWINS}::test_a_cancel_ends_twins_as_their_originals_end",
        raises="IntegrityError",
    ),
    Planted(
        name="a-request-that-was-left-out-is-an-original",
        why="its twins wait for what is not there: the job never ends",
        edits=(
            (
                "orchestrator/store/fingerprints.py",
                "[member for member in group.members if member in existing]",
                "[member for member in group.members if member in existing or member == group.members[0]]",
            ),
        ),
        test=f"{TWINS}::test_a_request_that_was_left_out_of_the_import_is_nobodys_original",
    ),
    Planted(
        name="who-reads-as-they-settle-misses-late-twins",
        why="an answer that an open job had already is never read",
        edits=(
            (
                "orchestrator/store/sql/requests.sql",
                "WHEN 'succeeded' THEN request.attempts = 0\n",
                "WHEN 'succeeded' THEN request.attempts < 0\n",
            ),
        ),
        test=f"{TWINS}::test_what_an_open_job_is_given_later_is_held_against_all_that_it_has",
    ),
    # --- pilots -------------------------------------------------------------------------------------------------------
    Planted(
        name="pilot-holds-nobody-back",
        why="all of a job is sent before anybody knows what it costs",
        edits=(
            (
                "orchestrator/engine/sending_ahead.py",
                "        if job.pilot_goes:\n",
                "        if job.pilot_goes and job.requests.batched == 0 and job.requests.succeeded == 0:\n",
            ),
        ),
        test=f"{PILOTS}::test_a_pilot_goes_first_and_then_the_job_waits",
        hunt="piloted",
    ),
    Planted(
        name="pilot-ends-while-it-is-sent",
        why="a job waits, or goes on, before its pilot has told anything",
        edits=(
            (
                "orchestrator/store/sql/pilots.sql",
                "                      AND request.state IN ('queued', 'batched'))",
                "                      AND request.state = 'queued')",
            ),
        ),
        test=f"{PILOTS}::test_a_pilot_goes_first_and_then_the_job_waits",
        hunt="piloted",
    ),
    Planted(
        name="pilot-from-the-head",
        why="the first rows of a file are rarely like the rest, and the estimate is of them alone",
        edits=(
            (
                "orchestrator/domain/pilot.py",
                "    return list(drawn)",
                "    return list(range(1, len(drawn) + 1))",
            ),
        ),
        test=f"{PILOTS}::test_a_lot_is_fair_and_the_same_for_the_same_input",
    ),
    Planted(
        name="pilot-told-by-its-primer",
        why="what writes a prefix costs more than what reads it: the rest is expected to be dearer than it is",
        edits=(
            (
                "orchestrator/store/sql/estimates.sql",
                " WHERE batch.job_id = :id AND NOT EXISTS (SELECT 1 FROM ahead WHERE ahead.batch_id = batch.id)",
                " WHERE batch.job_id = :id",
            ),
        ),
        test=f"{PILOTS}::test_a_pilot_of_marked_requests_primes_their_prefix_and_tells_the_price_of_the_others",
    ),
    # --- trials -------------------------------------------------------------------------------------------------------
    Planted(
        name="a-trial-sends-the-rest",
        why="ten were asked for, and fifty thousand are bought",
        edits=(
            (
                "orchestrator/store/pilots.py",
                "    if job.pilot is PilotState.WAIT:\n",
                "    if job.pilot is PilotState.WAIT and job.trial is None:\n",
            ),
        ),
        test=f"{TRIALS}::test_a_trial_sends_its_requests_alone_and_the_rest_when_it_is_asked_for",
        hunt="piloted",
    ),
    Planted(
        name="the-rest-is-another-job",
        why="a job of the same content is not known for its trial, and the first ten are bought again",
        edits=(
            (
                "orchestrator/store/ingestion.py",
                "    if same is not None:\n",
                "    if same is not None and same.trial == new.trial:\n",
            ),
        ),
        test=f"{TRIALS}::test_a_trial_sends_its_requests_alone_and_the_rest_when_it_is_asked_for",
    ),
    Planted(
        name="a-larger-limit-sends-all",
        why="a hundred were asked for after ten, and all are bought",
        edits=(
            (
                "orchestrator/store/sql/pilots.sql",
                "UPDATE job SET pilot = 'wait', trial = :size,",
                "UPDATE job SET pilot = 'go_on', trial = :size,",
            ),
        ),
        test=f"{TRIALS}::test_a_larger_limit_buys_only_what_is_missing",
        hunt="piloted",
    ),
    Planted(
        name="a-resume-within-a-trial-leaves-it",
        why="a person who paused a trial for a minute buys all of it",
        edits=(
            (
                "orchestrator/store/sql/job_control.sql",
                "trial = CASE WHEN reason_code = 'trial' THEN NULL ELSE trial END,",
                "trial = NULL, pilot = 'over',",
            ),
        ),
        test=f"{TRIALS}::test_a_resume_after_a_trial_sends_the_rest_and_one_within_it_does_not",
    ),
    Planted(
        name="a-retry-leaves-the-trial",
        why="three of ten failed, and who asks for them again buys fifty thousand",
        edits=(
            (
                "orchestrator/store/sql/job_control.sql",
                "WHEN trial IS NOT NULL OR state = 'paused' THEN 'wait' ELSE pilot END",
                "WHEN state = 'waiting' THEN 'wait' ELSE pilot END",
            ),
        ),
        test=f"{TRIALS}::test_a_failure_of_a_trial_is_retried_without_the_rest",
    ),
    Planted(
        name="an-old-look-plans-the-rest",
        why="a stage that read the job just before its trial was asked for sends all of it",
        edits=(("orchestrator/store/sql/plan.sql", " AND coalesce(pilot, 'over') = :pilot\n", " AND :pilot <> ''\n"),),
        test=f"{CONTRACT}[sqlite-nobody_plans_the_rest_by_an_old_look]",
    ),
    Planted(
        name="twins-in-a-trial-are-sent",
        why="identical requests are bought twice, as long as they are among the first",
        edits=(
            (
                "orchestrator/store/sql/prefixes.sql",
                "AND request.state = 'queued' AND twin_of IS NULL\n ORDER BY piloted",
                "AND request.state = 'queued'\n ORDER BY piloted",
            ),
        ),
        test=f"{TRIALS}::test_twins_in_a_trial_have_their_answers",
        raises="IntegrityError",
    ),
    Planted(
        name="nobody-is-asked-about-the-rest",
        why="who said yes to ten is taken to have said yes to fifty thousand",
        edits=(
            (
                "orchestrator/views/cost_question.py",
                "        return job.requests.total - job.trial\n",
                "        return 0\n",
            ),
        ),
        test="tests/faces/test_trial_faces.py::test_only_the_trial_is_confirmed_and_then_the_rest",
    ),
    Planted(
        name="what-goes-ahead-gets-no-marker",
        why="it writes nothing to the cache, and the others that waited for it write what they came to read",
        edits=(
            (
                "orchestrator/store/prefixes.py",
                '{"batch_id": batch, "keys": json.dumps([use.prefix for use in uses])}',
                '{"batch_id": batch, "keys": json.dumps([use.prefix for use in uses if not use.is_primer])}',
            ),
        ),
        test=PRIMED_LIFE,
        hunt="primed batches",
    ),
    Planted(
        name="a-prefix-that-is-kept-is-taken-for-lost",
        why="one request after another goes ahead, each in a batch of its own: a job takes as many batches as it has requests",
        edits=(
            (
                "orchestrator/domain/priming.py",
                "return group.in_flight or _is_fresh(group.used_at, now, unknown=False)",
                "return group.in_flight",
            ),
        ),
        test=PRIMED_LIFE,
        hunt="primed batches",
    ),
    Planted(
        name="an-estimate-that-fits-afterwards",
        why="what was expected is read from what was spent: every estimate was right, and no person sees that it is not",
        edits=(
            (
                "orchestrator/store/sql/estimates.sql",
                "SELECT input_tokens, low_nanos, expected_nanos, high_nanos,",
                "SELECT input_tokens, low_nanos, (SELECT nullif(spent_nanos, 0) FROM job WHERE job.id = job_id), high_nanos,",
            ),
        ),
        test=HELD,
    ),
    Planted(
        name="a-ratio-upside-down",
        why="a job that costs twice what was expected looks like half of it, and the next cap is set too low",
        edits=(("orchestrator/store/estimates.py", "row[1] / row[0]", "row[0] / row[1]"),),
        test=HELD,
    ),
    Planted(
        name="rows-slide-to-other-requests",
        why="an answer is written beside the row of another request, and nobody who reads the table can tell",
        edits=(
            (
                "orchestrator/store/source_rows.py",
                "    rows = [line.row for line in lines]\n",
                "    rows = [line.row for line in lines if line.row]\n",
            ),
        ),
        test=f"{CONTRACT}[sqlite-requests_without_a_row_have_none]",
    ),
    Planted(
        name="rows-outlive-their-purge",
        why="a person is told that what was handed in is deleted, and the table that it came from is still there",
        edits=(
            (
                "orchestrator/store/sql/purging.sql",
                "FROM source_row WHERE first_id = ?",
                "FROM source_row WHERE first_id < ?",
            ),
        ),
        test="tests/store/test_store_bodies.py::test_a_purge_takes_the_bodies_of_one_job_and_leaves_all_else[sqlite]",
    ),
    Planted(
        name="server-reads-images",
        why="who may hand tables in reads every image of the server's disk, and is told which paths there are",
        edits=(("orchestrator/serving.py", "folder=None, limit=rows.most", "folder=Path(), limit=rows.most"),),
        test="tests/faces/test_api_tables.py::test_what_does_not_fit_is_one_clear_problem",
    ),
    Planted(
        name="upload-takes-all-text",
        why="a small archive of blank lines keeps a thread of the server busy for hours",
        edits=(("orchestrator/tables/text_lines.py", "if self.size_bytes > self._most_bytes:", "if False:"),),
        test="tests/unit/test_table_uploads.py::test_an_archive_that_unpacks_to_too_much_is_refused",
    ),
    Planted(
        name="a-version-that-nobody-needed",
        why="a whole file with temperature comes back errored, a day after it was handed in",
        edits=(
            (
                "orchestrator/engine/ingest.py",
                "        new = new.with_version(reading.version)\n",
                "",
            ),
        ),
        test="tests/engine/test_version_at_hand_in.py::test_requests_that_need_the_older_version_are_sent_with_it[sqlite]",
    ),
    Planted(
        name="lines-checked-for-no-version",
        why="a server that is fixed to the newest version sends temperature with it: every such answer is an error",
        edits=(
            (
                "orchestrator/ports/streams.py",
                "                yield [each for item in chunk for each in self._checked(item)]\n",
                "                yield chunk\n",
            ),
        ),
        test="tests/engine/test_version_at_hand_in.py::test_lines_that_another_process_checked_are_checked_against_a_version_that_is_fixed_here[sqlite]",
    ),
    # --- answers that do not match their schema -----------------------------------------------------------------------
    Planted(
        name="invalid-answers-settle-as-successes",
        why="what nobody can use is told to be an answer, and no request is ever sent again for it",
        edits=(
            (
                "orchestrator/engine/result_file.py",
                "row if self._schema is None else _validated(row, self._schema)",
                "row",
            ),
        ),
        test=f"{INVALID}::test_what_is_left_over_is_no_success_and_keeps_its_text[sqlite]",
        hunt="structured",
    ),
    Planted(
        name="invalid-answers-cost-nothing",
        why="each of them is on the API's bill, and in no ledger and under no cap",
        edits=(
            (
                "orchestrator/store/collect.py",
                "_paid([lines[key] for key in others])",
                "_paid([lines[key] for key in others if lines[key].outcome != 'invalid'])",
            ),
        ),
        test=f"{INVALID}::test_an_invalid_answer_is_paid_for_and_asked_for_again[sqlite-bad_json]",
        hunt="structured",
    ),
    Planted(
        name="invalid-answers-are-asked-for-once-too-often",
        why="whoever said that one more try is to be paid for pays for two",
        edits=(
            (
                "orchestrator/domain/result_outcome.py",
                "tries.invalid < limits.invalid and",
                "tries.invalid <= limits.invalid and",
            ),
        ),
        test=f"{INVALID}::test_what_is_left_over_is_no_success_and_keeps_its_text[sqlite]",
        hunt="structured",
    ),
    Planted(
        name="invalid-answers-are-not-counted",
        why="a request whose answers never match is bought again for ever",
        edits=(
            (
                "orchestrator/store/settling.py",
                "queued.append((key, burnt, invalid, kind,",
                "queued.append((key, burnt, 0, kind,",
            ),
        ),
        test=f"{INVALID}::test_what_is_left_over_is_no_success_and_keeps_its_text[sqlite]",
    ),
    Planted(
        name="refusals-are-asked-for-again",
        why="a refusal is no JSON either: each is bought a second time, and gets no better",
        edits=(
            (
                "orchestrator/domain/invalid_answers.py",
                "    if stop_reason == REFUSAL:\n        return None\n",
                "",
            ),
        ),
        test=f"{INVALID}::test_a_refusal_is_a_success_and_never_asked_for_again[sqlite]",
    ),
    Planted(
        name="invalid-answers-are-missing-results",
        why="a batch with one of them never has all of its results: it is downloaded for a day, and its answers are lost",
        edits=(
            (
                "orchestrator/store/collect.py",
                'succeeded + by_kind.get("succeeded", 0)',
                "succeeded",
            ),
        ),
        test=f"{INVALID}::test_a_download_that_is_repeated_decides_alike[sqlite]",
        hunt="structured",
    ),
    Planted(
        name="a-row-costs-what-its-last-try-did",
        why="the sum of the rows is less than the bill, by all that was paid for and could not be used",
        edits=(
            (
                "orchestrator/store/sql/requests.sql",
                "may show a number that was given again.\nSELECT request.id, request.custom_id, request.state, result.body,\n"
                "       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE\n"
                "         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END\n"
                "         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0\n",
                "may show a number that was given again.\nSELECT request.id, request.custom_id, request.state, result.body,\n"
                "       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE\n"
                "         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END\n"
                "         + CASE WHEN request.state = 'succeeded' THEN 0\n",
            ),
        ),
        test=f"{INVALID}::test_an_invalid_answer_is_paid_for_and_asked_for_again[sqlite-bad_json]",
    ),
    Planted(
        name="an-invalid-answer-is-shown-as-a-message",
        why="who reads `result.message` of each line takes what does not match for an answer",
        edits=(
            (
                "orchestrator/domain/result_lines.py",
                """b'%b,"answer":%b}'""",
                """b'%b,"message":%b}'""",
            ),
        ),
        test=f"{INVALID}::test_what_is_left_over_is_no_success_and_keeps_its_text[sqlite]",
        hunt="structured",
    ),
    Planted(
        name="every-failure-is-an-invalid-answer",
        why="people are told that answers were paid for which nobody gave, and to mend a schema that is right",
        edits=(
            (
                "orchestrator/store/read.py",
                'self._number("invalid", id=job.id) if job.schema',
                "job.requests.failed if job.schema",
            ),
        ),
        test=f"{INVALID}::test_invalid_answers_are_counted_beside_other_failures[sqlite]",
    ),
    Planted(
        name="a-question-of-one-try",
        why="somebody says yes to a third of what is spent when no answer matches the schema",
        edits=(("orchestrator/views/cost_question.py", "tally.high(rates) * new.tries", "tally.high(rates)"),),
        test="tests/faces/test_cli_confirm.py::test_tries_are_in_it_and_what_is_not_sent_is_not",
    ),
    Planted(
        name="a-request-is-listed-in-every-way-it-matches",
        why="what is written back to be corrected has requests twice, and is refused when it is handed in",
        edits=(
            (
                "orchestrator/store/request_pages.py",
                "rows = (row for row, _ in groupby(heapq.merge(*answers, reverse=self.is_backwards)))",
                "rows = heapq.merge(*answers, reverse=self.is_backwards)",
            ),
        ),
        test="tests/store/test_store_lists.py::test_requests_that_match_in_several_ways_are_listed_once[sqlite]",
    ),
    Planted(
        name="cut-answers-are-told-by-their-error-alone",
        why="with a schema every answer that was cut has failed: who asks for them by max_tokens gets none",
        edits=(("orchestrator/domain/result_choice.py", "    if stop in CUT_STOPS:", "    if False:"),),
        test="tests/faces/test_cli_requests.py::test_only_means_the_same_as_of_results[max_tokens]",
    ),
    Planted(
        name="prompts-of-a-purged-job-are-written",
        why="what a person asked to be deleted is given out, as long as its blocks are there",
        edits=(("orchestrator/store/read_requests.py", '        self._refuse_purged(job, "requests")\n', ""),),
        test="tests/store/test_store_lists.py::test_requests_come_back_as_the_lines_that_were_handed_in[sqlite]",
    ),
)
