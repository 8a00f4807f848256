CREATE OR REPLACE FUNCTION once.accept_offset(grp text, topic text, "partition" int, first bigint, last bigint,
        fence bigint DEFAULT NULL, OUT verdict once.offset_verdict, OUT next bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_offset';
COMMENT ON FUNCTION once.accept_offset(text, text, int, bigint, bigint, bigint) IS 'stores that the offsets first to last are processed, in the transaction of their effects. new: process from next on; duplicate: all of them are known, next is the stored one; fenced: somebody claimed the partition later, claim again. last = first - 1 is an empty range: stores where a new group starts. With a fence a first above the stored next raises ON012. READ COMMITTED: waits for who changes the same partition. REPEATABLE READ and SERIALIZABLE: 40001 where somebody did after the snapshot. ON010 invalid name, 22023 invalid range, 22004 null, 25006 read only';

CREATE OR REPLACE FUNCTION once.offset_writer(grp text, topic text, "partition" int) RETURNS int
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_offset_writer';
COMMENT ON FUNCTION once.offset_writer(text, text, int) IS 'internal: process that has the partition''s row in an open transaction; 0 nobody, -1 a prepared transaction';

-- A member that hangs in its transaction keeps the row. One whose session does nothing for 15 s inside of it is ended, as
-- the holder of a lane is; its transaction rolls back, so nothing is lost or doubled. A session that runs a statement is a
-- handler at work, however long it takes: ended, its batch would begin anew with the next owner, for ever. Fences start
-- from the clock: after a restore from a dump, which carries none, new ones are still above all that are out there.
CREATE OR REPLACE FUNCTION once.offset_take(grp text, topic text, "partition" int, patience interval, OUT fence bigint,
        OUT next bigint, OUT busy int)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
#variable_conflict use_column
DECLARE
    silence CONSTANT interval := '15 s';
    begun timestamptz := clock_timestamp();
    writer int;
BEGIN
    PERFORM once.require_name(grp, 'group', 'ON010');
    PERFORM once.require_name(topic, 'topic', 'ON010');
    IF "partition" IS NULL OR "partition" < 0 THEN
        RAISE EXCEPTION 'partition must not be null or negative'
            USING ERRCODE = CASE WHEN "partition" IS NULL THEN '22004' ELSE '22023' END;
    END IF;
    LOOP
        BEGIN
            INSERT INTO once.consumer_offset AS o (grp, topic, "partition")
                VALUES (offset_take.grp, offset_take.topic, offset_take."partition")
                ON CONFLICT (grp, topic, "partition") DO UPDATE SET next = o.next RETURNING o.next INTO next;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            writer := once.offset_writer(grp, topic, "partition");
            PERFORM pg_stat_clear_snapshot();
            IF EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = writer AND a.usename = session_user
                       AND (a.state <> 'active' OR a.wait_event_type = 'Client')
                       AND a.state_change < clock_timestamp() - silence) THEN
                PERFORM pg_terminate_backend(writer);
            ELSIF clock_timestamp() - begun > patience AND writer <> 0 THEN
                busy := writer;
                next := NULL;
                RETURN;
            END IF;
        END;
    END LOOP;
    INSERT INTO once.offset_fence AS f (grp, topic, "partition", fence)
        VALUES (offset_take.grp, offset_take.topic, offset_take."partition",
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
        ON CONFLICT (grp, topic, "partition") DO UPDATE SET fence = greatest(f.fence + 1, excluded.fence)
        RETURNING f.fence INTO fence;
END $$;
COMMENT ON FUNCTION once.offset_take(text, text, int, interval) IS 'internal: once.offset_claim, which tells the process that is at work with the partition (-1: a prepared transaction) after so much patience';

CREATE OR REPLACE FUNCTION once.offset_claim(grp text, topic text, "partition" int, OUT fence bigint, OUT next bigint)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    busy int;
BEGIN
    SELECT t.fence, t.next, t.busy INTO fence, next, busy FROM once.offset_take(grp, topic, "partition", '15 s') t;
    IF busy IS NOT NULL THEN
        RAISE EXCEPTION 'could not claim partition % of topic "%": process % keeps it', "partition", topic, busy
            USING ERRCODE = '55P03', HINT = 'A handler is at work there, or a prepared transaction or a session of another role has changed its offset and not ended.';
    END IF;
END $$;
COMMENT ON FUNCTION once.offset_claim(text, text, int) IS 'makes the caller the owner of a partition: a fence above all earlier ones, and the offset to go on from (null: a new group). Call it in a transaction of its own on assignment. Waits 15 s for a member that is just storing offsets, then raises 55P03; a session of the same role that has been doing nothing in its transaction for 15 s is terminated. READ COMMITTED; above it 40001 is possible. 25006 when read only';

-- The claim's row lock is held to the end of the transaction, and who claims the partition meanwhile waits for it: so
-- two members never count the topics at the same time. The claim itself has fenced whoever still reads the old topic.
CREATE OR REPLACE FUNCTION once.offset_claim_topic(grp text, topic text, "partition" int, topic_id text,
        patience interval DEFAULT '15 s', OUT fence bigint, OUT next bigint, OUT name text, OUT busy int)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known once.consumer_topic;
BEGIN
    IF topic_id IS NOT NULL THEN
        PERFORM once.require_name(topic_id, 'topic id', 'ON010');
    END IF;
    SELECT c.fence, c.next, c.busy INTO fence, next, busy FROM once.offset_take(grp, topic, "partition", patience) c;
    IF busy IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT * INTO known FROM once.consumer_topic t
        WHERE t.grp = offset_claim_topic.grp AND t.topic = offset_claim_topic.topic
              AND t."partition" = offset_claim_topic."partition" ORDER BY t.number DESC LIMIT 1;
    IF topic_id IS NOT NULL AND topic_id IS DISTINCT FROM known.topic_id THEN
        IF EXISTS (SELECT FROM once.consumer_topic t
                   WHERE t.grp = offset_claim_topic.grp AND t.topic = offset_claim_topic.topic
                         AND t."partition" = offset_claim_topic."partition" AND t.topic_id = offset_claim_topic.topic_id) THEN
            fence := NULL;
            next := NULL;
            RETURN;
        END IF;
        INSERT INTO once.consumer_topic AS t (grp, topic, "partition", number, topic_id)
            VALUES (offset_claim_topic.grp, offset_claim_topic.topic, offset_claim_topic."partition",
                    coalesce(known.number + 1, 0), offset_claim_topic.topic_id)
            RETURNING t.* INTO known;
        IF known.number > 0 AND next IS NOT NULL THEN
            next := 0;
            UPDATE once.consumer_offset o SET next = 0
                WHERE o.grp = offset_claim_topic.grp AND o.topic = offset_claim_topic.topic
                      AND o."partition" = offset_claim_topic."partition";
        END IF;
    END IF;
    name := CASE WHEN known.number > 0 THEN topic || '/' || known.topic_id ELSE topic END;
END $$;
COMMENT ON FUNCTION once.offset_claim_topic(text, text, int, text, interval) IS 'offset_claim with the id that Kafka gave the topic (null: not known). Another id than the last one is a topic that was deleted and made again: the group goes on from its offset 0. A fence that is null: the id is of a topic that another one has followed, ask again. name: what the source and the ids of messages are made of that have none of their own, so that they are not taken for those of the old topic. busy: the process that is still at work with the partition after so much patience, nothing is claimed. Errors as offset_claim; ON010 invalid topic id';

-- A group begins a topic once, in all partitions that it then has. One that has no offset later was added since: were
-- it begun at its end, what came before it was found would be lost.
CREATE OR REPLACE FUNCTION once.offset_begin(grp text, topic text, "partition" int, partitions int[], offsets bigint[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    begun boolean;
    go_on bigint;
BEGIN
    PERFORM once.require_name(grp, 'group', 'ON010');
    PERFORM once.require_name(topic, 'topic', 'ON010');
    IF "partition" IS NULL OR partitions IS NULL OR offsets IS NULL THEN
        RAISE EXCEPTION 'partition, partitions and offsets must not be null' USING ERRCODE = '22004';
    END IF;
    SELECT count(o.next) > 0 INTO begun FROM once.consumer_offset o WHERE o.grp = offset_begin.grp AND o.topic = offset_begin.topic;
    -- Rows of who is at work are not touched: nobody waits.
    INSERT INTO once.consumer_offset AS o (grp, topic, "partition", next)
        SELECT offset_begin.grp, offset_begin.topic, p.part, p.start
        FROM unnest(CASE WHEN begun THEN ARRAY[offset_begin."partition"] ELSE partitions END,
                    CASE WHEN begun THEN ARRAY[0::bigint] ELSE offsets END) p(part, start)
        WHERE NOT EXISTS (SELECT FROM once.consumer_offset k WHERE k.grp = offset_begin.grp AND k.topic = offset_begin.topic
                          AND k."partition" = p.part AND k.next IS NOT NULL)
        ORDER BY p.part
        ON CONFLICT (grp, topic, "partition") DO UPDATE SET next = excluded.next WHERE o.next IS NULL;
    SELECT o.next INTO go_on FROM once.consumer_offset o
        WHERE o.grp = offset_begin.grp AND o.topic = offset_begin.topic AND o."partition" = offset_begin."partition";
    RETURN go_on;
END $$;
COMMENT ON FUNCTION once.offset_begin(text, text, int, int[], bigint[]) IS 'for once-relay inbox: stores where a group begins a topic, an offset for each partition, unless it has begun it; one that was added later begins at 0. The offset to go on from; null: the group is new and the partition not among these. READ COMMITTED; above it 40001 is possible. ON010 invalid name, 22004 null';

-- A message without an id of its own is known by topic, partition and offset, in once.inbox too: while old ones wait
-- there, those of the new topic would be taken for them.
CREATE OR REPLACE FUNCTION once.offset_forget(grp text, topic text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    PERFORM once.require_name(grp, 'group', 'ON010');
    PERFORM once.require_name(topic, 'topic', 'ON010');
    IF EXISTS (SELECT FROM once.inbox i WHERE i.topic = offset_forget.topic
               AND (i.id = concat_ws('/', i.topic, i."partition", i.log_offset)
                    OR i.id IN (SELECT concat_ws('/', i.topic, t.topic_id, i."partition", i.log_offset)
                                FROM once.consumer_topic t WHERE t.grp = offset_forget.grp AND t.topic = i.topic))) THEN
        RAISE EXCEPTION 'messages of topic "%" still wait in once.inbox', topic
            USING ERRCODE = '55000', HINT = 'Let workers take them, or end them with once.inbox_done.';
    END IF;
    UPDATE once.consumer_offset o SET next = 0 WHERE o.grp = offset_forget.grp AND o.topic = offset_forget.topic;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    UPDATE once.offset_fence f SET fence = f.fence + 1 WHERE f.grp = offset_forget.grp AND f.topic = offset_forget.topic;
    RETURN forgotten;
END $$;
COMMENT ON FUNCTION once.offset_forget(text, text) IS 'for a topic that was deleted and made again: the group goes on from offset 0 of the new one, whoever still reads the old one is fenced. How many partitions there were; 55000 while messages of the old topic that have no id of their own wait in once.inbox. READ COMMITTED: waits for a member that is just storing offsets; above it 40001 is possible';
