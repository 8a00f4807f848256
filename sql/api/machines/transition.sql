CREATE OR REPLACE FUNCTION once.transition(machine text, entity text, event text, event_id text DEFAULT NULL,
        expected_version bigint DEFAULT NULL,
        OUT verdict once.transition_verdict, OUT from_state text, OUT to_state text, OUT version bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS 'MODULE_PATHNAME', 'once_transition';
COMMENT ON FUNCTION once.transition(text, text, text, text, bigint) IS
'moves an entity of a state machine; an unseen entity stands in the initial state at version 0
moved: it went from from_state to to_state; else nothing was written, from_state is where it stands and to_state is null
duplicate: this event id moved it before; unknown_event: no transition names the event; stale: expected_version is not the version ;
unknown_entity: unseen, and the event does not lead out of the initial state; late: legal in a state from which the present one is reachable; illegal: else
event ids are remembered per machine and entity, at least as long as once.memory says (machine_event)
two sessions, one entity: the second waits for the first one''s end
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 where a move would rest on an older state, a refusal describes the snapshot; standby: 25006
ON031 unknown machine, 22004 and 22023 invalid names';
