CREATE OR REPLACE FUNCTION once.scope_grant(scope text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF scope IS NULL OR role IS NULL THEN
        RAISE EXCEPTION 'scope and role must not be null' USING ERRCODE = '22004';
    ELSIF role <> 'public' AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    UPDATE once.scope s SET restricted = (role <> 'public') WHERE s.name = scope AND s.name <> '';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" is not declared', scope USING ERRCODE = '42704', HINT = 'Call once.scope_set first.';
    END IF;
    IF role = 'public' THEN
        DELETE FROM once.scope_right r WHERE r.scope = scope_grant.scope;
    ELSE
        INSERT INTO once.scope_right (scope, role) VALUES (scope, role) ON CONFLICT ON CONSTRAINT scope_right_pkey DO NOTHING;
    END IF;
END $$;
COMMENT ON FUNCTION once.scope_grant(text, text) IS
    'restricts a scope to roles: the first grant closes it to everybody else (42501), ''public'' opens it again. Members of a granted role may use it too';

CREATE OR REPLACE FUNCTION once.scope_revoke(scope text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF scope IS NULL OR role IS NULL THEN
        RAISE EXCEPTION 'scope and role must not be null' USING ERRCODE = '22004';
    END IF;
    UPDATE once.scope s SET restricted = true WHERE s.name = scope AND s.name <> '';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" is not declared', scope USING ERRCODE = '42704', HINT = 'Call once.scope_set first.';
    END IF;
    DELETE FROM once.scope_right r WHERE r.scope = scope_revoke.scope AND r.role = scope_revoke.role;
END $$;
COMMENT ON FUNCTION once.scope_revoke(text, text) IS 'takes the right to a scope from a role; the scope stays restricted, also when nobody is left';
