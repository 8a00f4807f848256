-- nextval would make our sequence the session's last used one, whose number lastval() answers to the application.
CREATE OR REPLACE FUNCTION once.next_number(sequence regclass) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_next_number';
COMMENT ON FUNCTION once.next_number(regclass) IS 'internal: the next number of a sequence of ours, without a trace in lastval() and currval(); 2200H when there is none left';
