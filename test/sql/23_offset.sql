-- once.offset_claim and accept_offset.
SELECT plan(76);

CREATE FUNCTION pg_temp.range(first bigint, last bigint, fence bigint DEFAULT NULL, part int DEFAULT 0) RETURNS text LANGUAGE sql AS
    $$ SELECT concat_ws(' ', verdict, coalesce(next::text, '-')) FROM once.accept_offset('g', 't', part, first, last, fence) $$;

-- ranges
SELECT is(pg_temp.range(10, 19), 'new 10', 'F8 a new group');
SELECT is(pg_temp.range(10, 19), 'duplicate 20', 'F8 the same');
SELECT is(pg_temp.range(12, 15), 'duplicate 20', 'F8 contained');
SELECT is(pg_temp.range(15, 24), 'new 20', 'F8 overlapping: only the tail is new');
SELECT is(pg_temp.range(25, 29), 'new 25', 'F8 after');
SELECT is(pg_temp.range(40, 49), 'new 40', 'F8 F9 after a hole, without a fence');
SELECT is(pg_temp.range(0, 9), 'duplicate 50', 'F8 before');
SELECT is(pg_temp.range(50, 49), 'duplicate 50', 'F8 an empty range');
SELECT is(pg_temp.range(0, 9, NULL, 1), 'new 0', 'F14 another partition');
BEGIN;
SELECT is(pg_temp.range(50, 59), 'new 50', 'F5 new');
ROLLBACK;
SELECT is(pg_temp.range(50, 59), 'new 50', 'F5 the effect rolled back: new again');
SELECT results_eq($$ SELECT (once.accept_offset('g', 'one', 0, x, x)).verdict::text FROM unnest(ARRAY[1, 2, 2]::bigint[]) x $$,
    ARRAY['new', 'new', 'duplicate'], 'F8 several in one statement');

-- fences
SELECT fence AS f1, next AS n1 FROM once.offset_claim('g', 't', 0) \gset
SELECT fence AS f2, next AS n2 FROM once.offset_claim('g', 't', 0) \gset
SELECT is(:n1, 60, 'F10 a claim returns the offset to go on from');
SELECT ok(:f2 > :f1, 'F7 a later claim has a higher fence');
SELECT is(pg_temp.range(60, 69, :f1), 'fenced 60', 'F7 the lower fence');
SELECT is(pg_temp.range(0, 9, :f1), 'fenced 60', 'F7 also for a range that is known');
SELECT is(pg_temp.range(60, 69, :f2), 'new 60', 'F7 the higher one');
SELECT throws_ok(format('SELECT once.accept_offset(%L, %L, 0, 71, 79, %s)', 'g', 't', :f2), 'ON012', NULL, 'F8 with a fence, above the stored next');
SELECT is(pg_temp.range(65, 79, :f2), 'new 70', 'F9 a member goes on from where it stands');
SELECT is(pg_temp.range(80, 89, :f2 + 5), 'new 80', 'F7 a fence above the stored one is taken');
SELECT is(pg_temp.range(90, 99, :f2), 'fenced 90', 'F7 and stored');
SELECT fence AS f3, next AS n3 FROM once.offset_claim('g', 't', 0) \gset
SELECT ok(:f3 > :f2 + 5, 'F7 the next claim is above it');
SELECT is(:n3, 90, 'F10 and goes on');
SELECT fence AS f, next IS NULL AS n FROM once.offset_claim('new', 't', 0) \gset
SELECT ok(:'n', 'F10 a new group has no offset');
SELECT is((once.accept_offset('new', 't', 0, 17, 16, :f)).next, 17::bigint, 'F10 its start offset is stored before anything is read');
SELECT is((once.offset_claim('new', 't', 0)).next, 17::bigint, 'F10 and comes back');
SELECT once.accept_offset('gone', 't', 0, 0, 99, 1000000) \g /dev/null
DELETE FROM once.consumer_offset WHERE grp = 'gone';
DELETE FROM once.offset_fence WHERE grp = 'gone';
SELECT is((once.accept_offset('gone', 't', 0, 0, 9, 1)).verdict, 'new', 'F7 a group that expired starts its generations again and goes on');

-- where a group begins a topic
CREATE FUNCTION pg_temp.begun(part int, partitions int[], offsets bigint[], topic text DEFAULT 't') RETURNS bigint LANGUAGE sql AS
    $$ SELECT once.offset_begin('begins', topic, part, partitions, offsets) $$;
SELECT is((once.offset_claim('begins', 't', 0)).next, NULL, 'F10 nothing is stored');
SELECT is(pg_temp.begun(0, '{}', '{}'), NULL, 'F10 nor does asking store anything');
SELECT is(pg_temp.begun(0, '{0,1,2}', '{10,11,12}'), 10::bigint, 'F10 all partitions at once');
SELECT is(pg_temp.begun(1, '{0,1,2}', '{20,21,22}'), 11::bigint, 'F10 who comes second takes it from there');
SELECT is((once.offset_claim('begins', 't', 2)).next, 12::bigint, 'F10 also one that nobody has claimed yet');
SELECT is(pg_temp.begun(3, '{0,1,2,3}', '{30,31,32,33}'), 0::bigint, 'F14 one that was added later: from its beginning');
SELECT is(pg_temp.begun(4, '{}', '{}'), 0::bigint, 'F14 known without asking Kafka');
SELECT is(pg_temp.begun(0, '{0}', '{7}', 'other'), 7::bigint, 'F10 another topic is begun for itself');
SELECT throws_ok(format('SELECT once.offset_begin(%s)', a), s, NULL, 'E9 refused to begin: ' || a)
    FROM (VALUES ('''g'', ''t'', NULL, ''{0}'', ''{0}''', '22004'), ('''g'', '''', 0, ''{0}'', ''{0}''', 'ON010')) AS t(a, s);

-- a topic that was made again
SELECT fence AS o1 FROM once.offset_claim('again', 'old', 0) \gset
SELECT once.accept_offset('again', 'old', 0, 0, 99, :o1), once.accept_offset('again', 'old', 1, 0, 99), once.accept_offset('again', 'other', 0, 0, 99) \g /dev/null
INSERT INTO once.inbox (consumer, id, topic, "partition", log_offset) VALUES ('c', 'old/0/7', 'old', 0, 7), ('c', 'from the sender', 'old', 0, 8);
SELECT throws_ok($$ SELECT once.offset_forget('again', 'old') $$, '55000', NULL, 'F12 messages that are known by their offset still wait');
SELECT is((once.offset_claim('again', 'old', 0)).next, 100::bigint, 'F12 nothing was forgotten');
SELECT fence AS o2 FROM once.offset_claim('again', 'old', 0) \gset
SELECT once.inbox_done('c', '{old/0/7}') \g /dev/null
SELECT is(once.offset_forget('again', 'old'), 2::bigint, 'F12 forgotten');
SELECT is((once.accept_offset('again', 'old', 0, 100, 109, :o2)).verdict, 'fenced', 'F12 who still reads the old topic is fenced');
SELECT is((once.offset_claim('again', 'old', 0)).next, 0::bigint, 'F12 the group goes on at the beginning');
SELECT is((once.offset_claim('again', 'other', 0)).next, 100::bigint, 'F12 another topic does not');
SELECT is(once.offset_forget('again', 'unknown'), 0::bigint, 'F12 nothing to forget');
SELECT throws_ok(format('SELECT once.offset_forget(%s)', a), s, NULL, 'E9 refused to forget: ' || a)
    FROM (VALUES ('NULL, ''t''', '22004'), ('''g'', NULL', '22004'), ('''g'', ''''', 'ON010')) AS t(a, s);

-- a topic that was made again, known by its id
CREATE FUNCTION pg_temp.claimed(topic_id text, part int DEFAULT 0, grp text DEFAULT 'ids') RETURNS text LANGUAGE sql AS
    $$ SELECT concat_ws(' ', CASE WHEN fence IS NULL THEN 'late' END, coalesce(next::text, '-'), name) FROM once.offset_claim_topic(grp, 't', part, topic_id) $$;
SELECT is(pg_temp.claimed(NULL), '- t', 'F12 no topic ids');
SELECT once.accept_offset('ids', 't', 0, 0, 99) \g /dev/null
SELECT is(pg_temp.claimed('A'), '100 t', 'F12 the first id that is known is no other topic');
SELECT is(pg_temp.claimed('A'), '100 t', 'F12 the same topic');
SELECT is(pg_temp.claimed(NULL), '100 t', 'F12 a relay that knows no ids');
SELECT fence AS i1 FROM once.offset_claim('ids', 't', 0) \gset
SELECT is(pg_temp.claimed('B'), '0 t/B', 'F12 another topic: from its beginning, under another name');
SELECT is((once.accept_offset('ids', 't', 0, 100, 109, :i1)).verdict, 'fenced', 'F12 who still reads the old topic is fenced');
SELECT is((once.accept_offset('ids', 't', 0, 0, 4)).verdict, 'new', 'F12 nothing of it is a duplicate');
SELECT is(pg_temp.claimed('B'), '5 t/B', 'F12 and goes on there');
SELECT is(pg_temp.claimed('A'), 'late -', 'F12 the old topic does not come back');
SELECT is(pg_temp.claimed(NULL), '5 t/B', 'F12 a relay that knows no ids keeps the name');
SELECT is(pg_temp.claimed('B', 1), '- t', 'F12 a partition that the old topic did not have');
SELECT is(pg_temp.claimed('C', 1), '- t/C', 'F12 made again before anything was stored');
INSERT INTO once.inbox (consumer, id, topic, "partition", log_offset) VALUES ('c', 't/B/0/7', 't', 0, 7);
SELECT throws_ok($$ SELECT once.offset_forget('ids', 't') $$, '55000', NULL, 'F12 messages of the new topic still wait');
SELECT once.inbox_done('c', '{t/B/0/7}') \g /dev/null
SELECT throws_ok($$ SELECT once.offset_claim_topic('ids', 't', 0, '') $$, 'ON010', NULL, 'E9 no topic id');
SELECT throws_ok($$ SELECT once.offset_claim_topic('ids', NULL, 0, 'A') $$, '22004', NULL, 'E9 no topic');

-- what a duplicate costs
BEGIN;
SELECT once.accept_offset('g', 't', 0, 0, 9, :f3) \g /dev/null
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT is(:'xid'::text, 'none', 'E7 a duplicate range burns no xid');
COMMIT;

-- bad input
SELECT throws_ok(format('SELECT once.accept_offset(%s)', a), s, NULL, 'E9 refused: ' || a)
    FROM (VALUES ('NULL, ''t'', 0, 0, 1', '22004'), ('''g'', NULL, 0, 0, 1', '22004'), ('''g'', ''t'', NULL, 0, 1', '22004'), ('''g'', ''t'', 0, NULL, 1', '22004'),
                 ('''g'', ''t'', 0, 0, NULL', '22004'), ('''g'', ''t'', 0, -1, 1', 'ON012'), ('''g'', ''t'', 0, 5, 3', '22023'), ('''g'', ''t'', -1, 0, 1', '22023'),
                 ('''g'', ''t'', 0, 0, 9223372036854775807', 'ON012'), ('''g'', '''', 0, 0, 1', 'ON010')) AS t(a, s);
SELECT throws_ok(format('SELECT once.offset_claim(%s)', a), s, NULL, 'E9 refused claim: ' || a)
    FROM (VALUES ('NULL, ''t'', 0', '22004'), ('''g'', ''t'', NULL', '22004'), ('''g'', ''t'', -1', '22023')) AS t(a, s);
SELECT * FROM finish();
