-- Who may move the rings on, and who may look at them. A consumer without a relay sweeps for itself.
INSERT INTO once.role_right (kind, privilege, object) VALUES
    ('consumer', 'EXECUTE', 'sweep'),
    ('relay', 'EXECUTE', 'sweep'),
    ('admin', 'EXECUTE', 'sweep'),
    ('admin', 'EXECUTE', 'ring_turn'),
    ('admin', 'EXECUTE', 'memory_set'),
    ('relay', 'SELECT', 'memory'),
    ('relay', 'EXECUTE', 'memory_rows'),
    ('admin', 'EXECUTE', 'memory_rows'),
    ('admin', 'SELECT', 'memory'),
    ('admin', 'SELECT', 'memory_setting');
