package mysqlrepo

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"hearth/domain"
)

// queueMessages notes, in the transaction that inserts messages and before it does, that they are to be told. Of each group
// only the highest seq is kept; what comes below what was told already gets rows of its own, unless it is there already.
func (d *DB) queueMessages(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) error {
	if !d.hooks || len(msgs) == 0 {
		return nil
	}
	var runs [][]*domain.Message // of one group each; msgs are sorted
	for len(msgs) > 0 {
		n := slices.IndexFunc(msgs, func(m *domain.Message) bool { return m.Group != msgs[0].Group })
		if n < 0 {
			n = len(msgs)
		}
		runs, msgs = append(runs, msgs[:n]), msgs[n:]
	}
	for chunk := range slices.Chunk(runs, groupsAQuery) {
		late, err := d.raisePositions(ctx, tx, chunk)
		if err != nil {
			return fmt.Errorf("queue messages of %d groups for webhooks: %w", len(chunk), err)
		}
		if err := d.queueLate(ctx, tx, late); err != nil {
			return fmt.Errorf("queue %d late messages for webhooks: %w", len(late), err)
		}
	}
	return nil
}

// raisePositions returns the messages that lie below what was told. A group that is new to the webhooks starts with the first
// message of its run.
func (d *DB) raisePositions(ctx context.Context, tx *sql.Tx, runs [][]*domain.Message) (late []*domain.Message, err error) {
	args, groups := make([]any, 0, 4*len(runs)), make([]any, 0, len(runs))
	for _, run := range runs {
		first, last := run[0], run[len(run)-1]
		args = append(args, first.Group, d.partitions.Of(first.Group), first.Seq-1, last.Seq)
		groups = append(groups, first.Group)
	}
	row := "(?,?,?,?,TRUE)"
	query := "INSERT INTO hook_position (group_id, partition_id, told_seq, last_seq, pending) VALUES " + row
	for range len(runs) - 1 {
		query += "," + row
	}
	if _, err := tx.ExecContext(ctx, query+d.dialect.raiseLast, args...); err != nil {
		return nil, err
	}
	told := make(map[string]int64, len(runs))
	query = "SELECT group_id, told_seq FROM hook_position WHERE group_id IN (" + marksOf(len(groups)) + ")"
	err = each(ctx, tx, query, groups, func(rows *sql.Rows) error {
		var group string
		var seq int64
		err := rows.Scan(&group, &seq)
		told[group] = seq
		return err
	})
	for _, run := range runs {
		for _, m := range run {
			if m.Seq <= told[m.Group] {
				late = append(late, m)
			}
		}
	}
	return late, err
}

// queueLate gives rows of their own to those of messages that are not stored yet: the others were told, or are about to be.
func (d *DB) queueLate(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	stored, err := storedOf(ctx, tx, msgs)
	if err != nil {
		return err
	}
	var rows []domain.OutboxRow
	for _, m := range msgs {
		if _, there := stored[storedKey{m.Group, m.Seq}]; !there {
			rows = appendLate(rows, m.Group, m.Seq, m.TimeMS)
		}
	}
	return d.queueRows(ctx, tx, rows)
}

// appendLate appends a message that is to be told out of its turn; those that follow on each other share a row.
func appendLate(rows []domain.OutboxRow, group string, seq, timeMS int64) []domain.OutboxRow {
	if n := len(rows) - 1; n >= 0 && rows[n].Group == group && rows[n].To == seq-1 {
		rows[n].To = seq
		return rows
	}
	return append(rows, domain.OutboxRow{Group: group, Event: domain.HookAfterSend, From: seq, To: seq, TimeMS: timeMS})
}

// queueRecalled notes that recalls are to be told, in the order of their times, in the transaction that writes them; not those
// that were written before.
func (d *DB) queueRecalled(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) error {
	if !d.hooks {
		return nil
	}
	slices.SortStableFunc(recalls, func(a, b domain.Recall) int { return cmp.Compare(a.TimeMS, b.TimeMS) })
	rows := make([]domain.OutboxRow, len(recalls))
	for i, r := range recalls {
		rows[i] = domain.RecalledHook(r)
	}
	return d.queueRows(ctx, tx, rows)
}

// queueChange notes that a change of a group is to be told, behind the messages that are stored.
func (d *DB) queueChange(ctx context.Context, tx *sql.Tx, c *domain.GroupChange) error {
	if !d.hooks {
		return nil
	}
	rows := c.Hooks()
	if len(rows) == 0 {
		return nil
	}
	var stored int64
	query := "SELECT last_seq FROM hook_position WHERE group_id=?"
	if err := each(ctx, tx, query, []any{c.ID}, func(rows *sql.Rows) error { return rows.Scan(&stored) }); err != nil {
		return fmt.Errorf("what the webhooks hear of %s before a change: %w", c.ID, err)
	}
	now := d.now().UnixMilli()
	for i := range rows {
		rows[i].To, rows[i].TimeMS = stored, now
	}
	return d.queueRows(ctx, tx, rows)
}

func (d *DB) queueRows(ctx context.Context, q execer, rows []domain.OutboxRow) error {
	for chunk := range slices.Chunk(rows, groupsAQuery) {
		query := "INSERT INTO hook_outbox (partition_id, group_id, event, from_seq, to_seq, payload, event_time, next_time) VALUES "
		args := make([]any, 0, 8*len(chunk))
		for i := range chunk {
			r := &chunk[i]
			if i > 0 {
				query += ","
			}
			query += "(?,?,?,?,?,?,?," + d.dialect.nowMS + ")"
			args = append(args, d.partitions.Of(r.Group), r.Group, r.Event, r.From, r.To, string(r.Data), r.TimeMS)
		}
		if _, err := q.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("queue %d events for webhooks: %w", len(chunk), err)
		}
	}
	return nil
}

// execer is a pool or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// UntoldGroups names groups of partitions that have something to tell, above the group after, ascending.
func (d *DB) UntoldGroups(ctx context.Context, partitions []int, after string, limit int) (groups []string, err error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	args := []any{after}
	for _, p := range partitions {
		args = append(args, p)
	}
	args = append(args, limit)
	where := " AND group_id>? AND partition_id IN (" + marksOf(len(partitions)) + ") ORDER BY group_id LIMIT ?"
	for _, query := range []string{
		"SELECT group_id FROM hook_position WHERE pending=TRUE" + where,
		"SELECT DISTINCT group_id FROM hook_outbox WHERE dead_time=0" + where,
	} {
		err := each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
			var group string
			err := rows.Scan(&group)
			groups = append(groups, group)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("groups with something to tell: %w", err)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	return groups[:min(limit, len(groups))], nil
}

// UntoldMessages reads up to limit messages of a group that were not told, ascending, and the group's holes when there is a
// gap before, between or behind them.
func (d *DB) UntoldMessages(ctx context.Context, group string, limit int) (u domain.Untold, err error) {
	query := "SELECT told_seq, last_seq FROM hook_position WHERE group_id=?"
	err = each(ctx, d.sql, query, []any{group}, func(rows *sql.Rows) error { return rows.Scan(&u.Told, &u.Last) })
	if err == nil && u.Told < u.Last {
		u.Messages, err = d.untold(ctx, group, u.Told+1, u.Last, limit)
	}
	if err == nil && hasGap(&u, limit) {
		u.Holes, err = d.Holes(ctx, group)
	}
	if err != nil {
		return domain.Untold{}, fmt.Errorf("messages of %s that are to be told: %w", group, err)
	}
	return u, nil
}

func hasGap(u *domain.Untold, limit int) bool {
	at := u.Told
	for i := range u.Messages {
		if u.Messages[i].Seq != at+1 {
			return true
		}
		at++
	}
	return len(u.Messages) < limit && at < u.Last
}

// MessagesToTell reads up to limit messages of a range, ascending, to tell them out of their turn.
func (d *DB) MessagesToTell(ctx context.Context, group string, from, to int64, limit int) ([]domain.UntoldMessage, error) {
	list, err := d.untold(ctx, group, from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("messages of %s from %d to %d: %w", group, from, to, err)
	}
	return list, nil
}

func (d *DB) untold(ctx context.Context, group string, from, to int64, limit int) (list []domain.UntoldMessage, err error) {
	query := "SELECT " + recordColumns + ", created_time FROM group_msg WHERE group_id=? AND msg_seq BETWEEN ? AND ? ORDER BY msg_seq LIMIT ?"
	err = each(ctx, d.sql, query, []any{group, from, to, limit}, func(rows *sql.Rows) (err error) {
		var m domain.UntoldMessage
		m.Record, err = scanRecord(rows, group, &m.StoredMS)
		list = append(list, m)
		return err
	})
	return list, err
}

const outboxColumns = "hook_id, group_id, event, from_seq, to_seq, payload, event_time, next_time, dead_time, reason"

// OutboxRows reads up to limit rows of a group that are to be told, in their order.
func (d *DB) OutboxRows(ctx context.Context, group string, limit int) ([]domain.OutboxRow, error) {
	query := "SELECT " + outboxColumns + " FROM hook_outbox WHERE group_id=? AND dead_time=0 ORDER BY hook_id LIMIT ?"
	rows, err := d.outboxRows(ctx, query, group, limit)
	if err != nil {
		return nil, fmt.Errorf("events of %s that are to be told: %w", group, err)
	}
	return rows, nil
}

func (d *DB) outboxRows(ctx context.Context, query string, args ...any) (list []domain.OutboxRow, err error) {
	err = each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
		var r domain.OutboxRow
		var data []byte
		err := rows.Scan(&r.ID, &r.Group, &r.Event, &r.From, &r.To, &data, &r.TimeMS, &r.NextMS, &r.DeadMS, &r.Reason)
		r.Data = data
		list = append(list, r)
		return err
	})
	return list, err
}

// ToldMessages notes that a group's messages were told up to a seq. passed are the seqs below it at which there was none when
// they were read: what has come there meanwhile was not late yet, so it gets rows here.
func (d *DB) ToldMessages(ctx context.Context, group string, seq int64, passed domain.Holes) (err error) {
	if len(passed) == 0 {
		err = told(ctx, d.sql, group, seq)
	} else {
		err = d.tx(ctx, func(tx *sql.Tx) error { return d.toldPast(ctx, tx, group, seq, passed) })
	}
	if err != nil {
		return fmt.Errorf("told %s up to %d: %w", group, seq, err)
	}
	return nil
}

func (d *DB) toldPast(ctx context.Context, tx *sql.Tx, group string, seq int64, passed domain.Holes) error {
	// Inserts lock the row, too: those that came before are committed then, those behind see that they are late.
	at, err := d.lockPosition(ctx, tx, group)
	if err != nil || at >= seq {
		return err
	}
	var rows []domain.OutboxRow
	query := "SELECT msg_seq, msg_time FROM group_msg WHERE group_id=? AND msg_seq BETWEEN ? AND ? ORDER BY msg_seq"
	for _, h := range passed {
		err := each(ctx, tx, query, []any{group, max(h.From, at+1), h.To}, func(found *sql.Rows) error {
			var late, timeMS int64
			err := found.Scan(&late, &timeMS)
			rows = appendLate(rows, group, late, timeMS)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := d.queueRows(ctx, tx, rows); err != nil {
		return err
	}
	return told(ctx, tx, group, seq)
}

// lockPosition returns how far a group was told, and keeps that as it is until tx ends.
func (d *DB) lockPosition(ctx context.Context, tx *sql.Tx, group string) (at int64, err error) {
	query := "SELECT told_seq FROM hook_position WHERE group_id=?" + d.dialect.forUpdate
	err = each(ctx, tx, query, []any{group}, func(rows *sql.Rows) error { return rows.Scan(&at) })
	return at, err
}

func told(ctx context.Context, q execer, group string, seq int64) error {
	// MySQL sets from left to right: pending goes by what last_seq is now.
	query := "UPDATE hook_position SET pending=(last_seq>?), told_seq=? WHERE group_id=? AND told_seq<?"
	_, err := q.ExecContext(ctx, query, seq, seq, group, seq)
	return err
}

// ToldRows forgets rows that were told.
func (d *DB) ToldRows(ctx context.Context, ids []int64) error {
	for chunk := range slices.Chunk(ids, groupsAQuery) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		if _, err := d.sql.ExecContext(ctx, "DELETE FROM hook_outbox WHERE hook_id IN ("+marksOf(len(args))+")", args...); err != nil {
			return fmt.Errorf("forget %d events that were told: %w", len(ids), err)
		}
	}
	return nil
}

// ToldPart notes how far the messages of a row were told.
func (d *DB) ToldPart(ctx context.Context, id, from int64) error {
	_, err := d.sql.ExecContext(ctx, "UPDATE hook_outbox SET from_seq=? WHERE hook_id=? AND from_seq<?", from, id, from)
	if err != nil {
		return fmt.Errorf("told a part of event %d: %w", id, err)
	}
	return nil
}

// HookBacklog counts what is to be told, holes between messages with it, and what was given up.
func (d *DB) HookBacklog(ctx context.Context) (untold, dead int64, err error) {
	var rows int64
	err = d.sql.QueryRowContext(ctx, "SELECT COALESCE(SUM(last_seq-told_seq),0) FROM hook_position WHERE pending=TRUE").Scan(&untold)
	if err == nil {
		query := "SELECT COUNT(CASE WHEN dead_time=0 THEN 1 END), COUNT(CASE WHEN dead_time>0 THEN 1 END) FROM hook_outbox"
		err = d.sql.QueryRowContext(ctx, query).Scan(&rows, &dead)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("count events for webhooks: %w", err)
	}
	return untold + rows, dead, nil
}
