"""The rules of money and time, the scenarios by which each was found, and the test that holds it.

Each number is a rule; under each scenario stand the tests, as file and name. A test below reads
this table: every rule has a scenario, every scenario a test, and every test exists.

1   16 GPUs for 40 hours overflow 64 bits where SQL multiplies, and SQLite makes a float of it
        actions/test_mistakes_of_others.py::test_a_million_small_amounts_lose_nothing
        test_architecture.py::test_no_float_holds_money
1   an amount beyond a billion credits
        actions/test_wallets.py::test_absurd_amounts_change_nothing
2   an instant of +08:00 is stored as wall time
        store/test_types.py::test_an_instant_comes_back_as_utc
2   a naive instant at the door
        actions/test_mistakes_of_others.py::test_a_naive_instant_is_refused
        handlers/test_schema.py::test_naive_times_are_refused
2   aware minus aware is wrong across a change of clocks
        domain/test_instants.py::test_zone_arithmetic_goes_through_utc
        domain/test_periods.py::test_a_day_begins_when_the_street_first_shows_it
2   a change of the zone moves no boundary that was announced
        domain/test_periods.py::test_a_change_of_zone_waits_for_the_next_month
        actions/test_allowances.py::test_another_zone_counts_from_the_next_month_on
3   now() of PostgreSQL is older than what the last holder of the lock did
        store/test_engine.py::test_the_clock_is_read_after_the_wait
3   a clock that says 2036 for two minutes
        actions/test_clock_jumps.py::test_two_minutes_of_2036
        domain/test_advance.py::test_so_much_at_once_needs_a_person
3   a clock that goes back behind a boundary
        actions/test_clock_jumps.py::test_an_hour_back_after_a_boundary
        actions/test_clock_jumps.py::test_forward_over_a_boundary_and_back
4   a price that was seen holds, whatever the rates do
        actions/test_admissions.py::test_a_seen_price_holds_for_the_whole_session
        actions/test_admissions.py::test_a_start_while_the_database_was_away_has_the_price_of_its_moment
4   the lines of a quote sum to it
        domain/test_rates.py::test_lines_sum_to_the_quote
5   a session cut anywhere costs the same, the fee once
        domain/test_rates.py::test_any_cutting_sums_to_the_same
        actions/test_sessions.py::test_slices_sum_to_the_whole
        properties/test_lives.py::test_ten_thousand_lives
5   one that lasted no time costs its fee
        actions/test_sessions.py::test_a_session_that_lasted_no_time_costs_its_fee
5   one that begins at midnight sharp belongs to the new day, and its fee does
        domain/test_advance.py::test_what_is_due
        actions/test_scenarios.py::test_what_started_at_the_boundary_belongs_to_the_new_period
6   out of memory: the container starts again in its pod
        actions/test_scenarios.py::test_a_container_that_restarts_is_the_same_session
6   Kubernetes speaks in whole seconds: no end before a start
        actions/test_scenarios.py::test_an_end_in_whole_seconds_is_not_before_a_start_in_fractions
6   from where it is billed is frozen
        actions/test_sessions.py::test_billed_from
7   an image that computes and never opens its port
        hooks/test_kube.py::test_a_container_that_ran_is_billed_though_the_start_failed
7   a failed start is charged and given back, three times a day
        actions/test_sessions.py::test_a_failed_start_is_charged_and_given_back_three_times_a_day
7   a start without a container
        actions/test_sessions.py::test_a_start_that_never_got_a_container_costs_nothing
8   three days on a dead node
        domain/test_sessions.py::test_a_stuck_pod_is_the_platforms
        actions/test_sessions.py::test_a_stuck_pod_is_booked_to_the_platform
        actions/test_sessions.py::test_a_stuck_pod_does_not_eat_the_wallet_while_it_is_stuck
9   init containers and sidecars as Kubernetes counts them, parts of a GPU, unknown models
        domain/test_shapes.py::test_effective_request
        domain/test_shapes.py::test_parts_of_a_gpu
        actions/test_admissions.py::test_a_model_without_a_rate
10  8 cores and 2 GPUs for 3 hours; 8 cores of a node of 32 for 3 hours
        domain/test_usage.py::test_the_example_of_the_rule
11  settling at a month's end counts a hold of 24 hours twice, and kills the server
        actions/test_scenarios.py::test_a_month_end_does_not_count_a_hold_twice
        domain/test_wallets.py::test_settling_any_of_them_never_changes_available
        domain/test_advance.py::test_booking_changes_what_is_free_only_where_allowances_turn
11  goodwill leaves what was charged alone, a correction does not
        actions/test_sessions.py::test_refunds_are_goodwill_and_corrections_are_not
11  no overdraft limit only records
        domain/test_ahead.py::test_record_only_wallets_never_run_dry
12  a hub that dies right after an admission leaks nothing
        domain/test_sessions.py::test_a_hold_that_nothing_confirmed_ends_by_itself
        actions/test_mistakes_of_others.py::test_a_hold_that_stays_for_ever
13  while a start is not known, admission counts it and stopping does not
        domain/test_wallets.py::test_admission_sees_less_than_stopping
14  zero is not dry, and the instant is exact over boundaries
        domain/test_ahead.py::test_dry_over_boundaries
        domain/test_ahead.py::test_dry_is_exact_to_the_microsecond
14  a lowered limit puts dry into the past
        actions/test_stops.py::test_a_lowered_overdraft_still_gives_the_whole_lead
14  so does a start that is learnt late
        actions/test_scenarios.py::test_a_start_that_is_learnt_late_still_has_its_warning
14  a top-up between the decision and the stop
        actions/test_stops.py::test_a_top_up_between_the_decision_and_the_stop
14  a server that was restarted meanwhile
        service/test_stops.py::test_a_restarted_server_is_another_one
14  too many stops at once wait for a person
        domain/test_stops.py::test_many_at_once_wait_for_a_person
        actions/test_stops.py::test_many_at_once_wait_for_a_person
15  someone else's start must not kill a running server at once
        actions/test_scenarios.py::test_another_ones_start_does_not_kill_a_running_server
15  a start shortly before its money expires
        domain/test_ahead.py::test_a_start_must_pass_at_each_boundary_of_its_window
        actions/test_allowances.py::test_credit_that_is_about_to_expire_starts_nothing
16  a transfer at 23:59 launders an allowance
        actions/test_allowances.py::test_an_allowance_is_not_saved_by_moving_it_a_minute_before_it_expires
16  charges, then expiry, then the grant, as one entry
        actions/test_scenarios.py::test_charges_then_expiry_then_the_grant
        domain/test_allowances.py::test_a_boundary
        properties/test_lives.py::test_what_is_broken_is_seen
16  debt is repaid first
        actions/test_allowances.py::test_debt_is_repaid_first
16  what is given back never brings an expired allowance back
        actions/test_allowances.py::test_a_grant_and_a_refund_after_it_expired_are_permanent
        actions/test_corrections.py::test_an_allowance_is_not_reckoned_again
17  a service that was down for a month
        actions/test_clock_jumps.py::test_a_service_that_is_off_for_a_month
        properties/test_lives.py::test_lives_in_a_database
17  two services that meet at a boundary
        races/test_advancing.py::test_services_that_meet_at_a_boundary_book_it_once
        properties/test_stateful.py::test_long_stories_on_postgresql
18  a charge has no floor; less overdraft and a closed wallet still settle
        store/test_ledger_rows.py::test_balances_have_no_floor
        actions/test_scenarios.py::test_less_overdraft_and_a_closed_wallet_still_settle
19  39 of 40 were admitted where 5 could pay
        races/test_exactly_k.py::test_one_wallet_that_pays_for_k
        races/test_exactly_k.py::test_a_broken_copy_is_caught
19  a hub that is cut off holds the gate
        store/test_engine.py::test_a_transaction_that_lies_idle_is_ended_by_the_server
19  a database that swallows everything fills the thread pool
        hooks/test_gateway.py::test_stuck_threads_are_bounded
        hooks/test_gateway.py::test_a_database_that_hangs_costs_one_deadline_and_no_event_loop
20  the same start asked again
        races/test_exactly_once.py::test_the_same_starts_from_every_process
20  a void and a COMMIT that comes late, whichever is first
        races/test_exactly_once.py::test_a_void_that_comes_before_a_late_commit
        races/test_exactly_once.py::test_a_void_after_a_lost_reply
20  a start that failed open, and its late COMMIT
        races/test_exactly_once.py::test_a_fail_open_start_and_a_late_commit_merge
21  the strictest limit is named, together or each
        domain/test_limits.py::test_the_strictest_is_named
        domain/test_limits.py::test_a_group_counts_together_or_each
21  starts that race for the hours of a period
        races/test_period_limits.py::test_a_persons_hours_over_two_wallets
        domain/test_period_limits.py::test_starts_never_take_more_than_the_cap
22  a choice that is not open names what is, and never falls through
        actions/test_admissions.py::test_a_choice_that_is_not_open_names_the_alternatives
22  a hub's group gives spending only
        handlers/test_api.py::test_a_group_gives_spending_only
23  one switch, seen by every process at once
        actions/test_admissions.py::test_the_mode_is_seen_by_every_process_at_once
        actions/test_stops.py::test_one_switch_takes_every_order_back
23  servers from before the install
        actions/test_mistakes_of_others.py::test_a_server_from_before_the_install_is_not_stopped_in_its_first_day
24  refunds that race never exceed the charge
        races/test_money_races.py::test_refunds_never_exceed_the_charge
24  a client's key is its own, and bound to what it said
        actions/test_wallets.py::test_a_clients_key_is_scoped_and_bound_to_its_body
24  a slice is charged once
        actions/test_scenarios.py::test_slices_are_unique_by_session_and_start
        races/test_money_races.py::test_two_who_settle_and_end_the_same_sessions_charge_them_once
25  INSERT OR REPLACE and TRUNCATE slip past triggers
        store/test_ledger_rows.py::test_nothing_changes_an_entry
25  Alembic's batch mode drops triggers
        store/test_schema.py::test_a_step_that_loses_a_trigger_is_undone
26  a month closes while somebody posts
        races/test_closing.py::test_posters_against_the_closer
26  what is learnt after the closing is booked in the open month, with negative usage
        actions/test_corrections.py::test_after_the_month_is_closed_it_is_negative_usage_in_the_open_one
26  the statement of a closed month is the same, byte by byte
        actions/test_statements.py::test_it_is_the_same_bytes_whatever_happens_later
27  a read sees one instant; rollups may be dropped at any time
        store/test_engine.py::test_a_read_sees_one_instant
        handlers/test_usage.py::test_rollups_may_be_dropped_at_any_time
28  a re-created person of the same name
        actions/test_mistakes_of_others.py::test_inherits_nothing
        actions/test_mistakes_of_others.py::test_no_second_starting_grant
28  a name that is forgotten
        actions/test_privacy.py::test_a_name_is_gone_from_every_row_and_no_money_moved
29  a hub touches only what is its own; leadership expires
        actions/test_scenarios.py::test_a_look_touches_its_own_hub_only
        actions/test_leases.py::test_one_leads_and_another_takes_over_when_it_is_gone
30  two rates of one key, and one that begins before a quote used the one before
        actions/test_scenarios.py::test_a_rate_is_there_once
        actions/test_admissions.py::test_a_rate_may_not_start_before_a_quote_that_used_its_predecessor
31  a million events of 0.4 micro-credits
        domain/test_metered.py::test_the_example_of_the_rule
        races/test_metered.py::test_events_from_many_processes_sum_exactly
32  sharing the Hub's own database
        store/test_schema.py::test_the_hubs_own_database_can_be_shared
32  a rollback must not stop all spawns, an older schema names the command
        store/test_schema.py::test_a_newer_schema_is_accepted
        store/test_schema.py::test_an_older_schema_names_the_command
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
RULES = range(1, 33)


def table() -> list[tuple[int, str, list[str]]]:
    """(rule, scenario, tests that hold it) of the table above."""
    found = []
    for line in __doc__.splitlines():
        if scenario := re.fullmatch(r"(\d+) +(\S.*)", line):
            found.append((int(scenario[1]), scenario[2], []))
        elif held := re.fullmatch(r" {8}(\S+\.py::\S+)", line):
            found[-1][2].append(held[1])
    return found


def names_in(path: Path) -> set[str]:
    """Names of the tests of a file, those in classes as well."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def test_every_rule_has_its_scenarios_in_order():
    rules = [rule for rule, _, _ in table()]
    assert sorted(set(rules)) == list(RULES)
    assert rules == sorted(rules)
    words = [scenario for _, scenario, _ in table()]
    assert len(words) == len(set(words)) > 70


def test_every_scenario_is_held_by_tests_that_exist():
    known: dict[str, set[str]] = {}
    lost = []
    for rule, scenario, held in table():
        assert held, f"nothing holds {rule}: {scenario}"
        for name in held:
            file, test = name.split("::")
            if file not in known:
                path = TESTS / file
                known[file] = names_in(path) if path.is_file() else set()
            if test not in known[file]:
                lost.append(f"{rule}: {scenario}: there is no {name}")
    assert lost == []
