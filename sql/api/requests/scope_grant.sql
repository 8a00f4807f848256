CREATE OR REPLACE FUNCTION once.scope_grant(scope text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF scope IS NULL OR role IS NULL THEN
        RAISE EXCEPTION 'scope and role must not be null' USING ERRCODE = '22004';
    ELSIF role <> 'public' AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    UPDATE once.scope s SET roles = CASE WHEN role = 'public' THEN NULL WHEN s.roles @> ARRAY[role] THEN s.roles ELSE s.roles || role END
        WHERE s.name = scope AND s.declared;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" is not declared', scope USING ERRCODE = '42704', HINT = 'Call once.scope_set first.';
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
    UPDATE once.scope s SET roles = coalesce(array_remove(s.roles, role), '{}') WHERE s.name = scope AND s.declared;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" is not declared', scope USING ERRCODE = '42704', HINT = 'Call once.scope_set first.';
    END IF;
END $$;
COMMENT ON FUNCTION once.scope_revoke(text, text) IS 'takes the right to a scope from a role; the scope stays restricted, also when nobody is left';
