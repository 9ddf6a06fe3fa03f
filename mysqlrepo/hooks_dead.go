package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"

	"hearth/domain"
)

// GiveUpMessages puts a run of untold messages aside, and goes on behind it. Runs that follow on each other, for the same
// reason, become one.
func (d *DB) GiveUpMessages(ctx context.Context, group string, from, to int64, timeMS int64, reason string) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		// The row decides who of two instances gives it up, and where to start.
		at, err := d.lockPosition(ctx, tx, group)
		if err != nil || at >= to {
			return err
		}
		if err := told(ctx, tx, group, to); err != nil {
			return err
		}
		return d.keepGivenUp(ctx, tx, domain.OutboxRow{Group: group, From: max(from, at+1), To: to, TimeMS: timeMS, Reason: reason})
	})
	if err != nil {
		return fmt.Errorf("give up messages of %s from %d to %d: %w", group, from, to, err)
	}
	return nil
}

// keepGivenUp makes a dead row of messages, or makes the one longer that they follow on.
func (d *DB) keepGivenUp(ctx context.Context, tx *sql.Tx, r domain.OutboxRow) error {
	now := d.dialect.nowMS
	longer, err := tx.ExecContext(ctx, "UPDATE hook_outbox SET to_seq=?, dead_time="+now+
		" WHERE group_id=? AND event=? AND dead_time>0 AND to_seq=? AND reason=?", r.To, r.Group, domain.HookAfterSend, r.From-1, r.Reason)
	if err != nil {
		return err
	}
	if n, err := longer.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO hook_outbox"+
		" (partition_id, group_id, event, from_seq, to_seq, payload, event_time, next_time, dead_time, reason)"+
		" VALUES (?,?,?,?,?,'',?,"+now+","+now+",?)", d.partitions.Of(r.Group), r.Group, domain.HookAfterSend, r.From, r.To, r.TimeMS, r.Reason)
	return err
}

// GiveUpPart puts the message at seq of a row of after_send aside, and has the row go on behind it.
func (d *DB) GiveUpPart(ctx context.Context, r domain.OutboxRow, seq int64, reason string) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		moved, err := tx.ExecContext(ctx, "UPDATE hook_outbox SET from_seq=? WHERE hook_id=? AND dead_time=0 AND from_seq<=?", seq+1, r.ID, seq)
		if err != nil {
			return err
		}
		if n, err := moved.RowsAffected(); err != nil || n == 0 { // another instance was first
			return err
		}
		r.From, r.To, r.Reason = seq, seq, reason
		return d.keepGivenUp(ctx, tx, r)
	})
	if err != nil {
		return fmt.Errorf("give up message %s/%d of event %d: %w", r.Group, seq, r.ID, err)
	}
	return nil
}

// GiveUpRow puts a row aside.
func (d *DB) GiveUpRow(ctx context.Context, id int64, reason string) error {
	_, err := d.sql.ExecContext(ctx, "UPDATE hook_outbox SET dead_time="+d.dialect.nowMS+", reason=? WHERE hook_id=?", reason, id)
	if err != nil {
		return fmt.Errorf("give up event %d: %w", id, err)
	}
	return nil
}

// DeadHooks lists up to limit rows that were given up, of one group or with group "" of all, behind the row after.
func (d *DB) DeadHooks(ctx context.Context, group string, after int64, limit int) ([]domain.OutboxRow, error) {
	query := "SELECT " + outboxColumns + " FROM hook_outbox WHERE dead_time>0 AND hook_id>? AND (?='' OR group_id=?) ORDER BY hook_id LIMIT ?"
	rows, err := d.outboxRows(ctx, query, after, group, group, limit)
	if err != nil {
		return nil, fmt.Errorf("events that were given up: %w", err)
	}
	return rows, nil
}

// RetryHooks has what was given up of a group, or with group "" of all, told after all. It returns how many rows.
func (d *DB) RetryHooks(ctx context.Context, group string) (int64, error) {
	query := "UPDATE hook_outbox SET dead_time=0, reason='', next_time=" + d.dialect.nowMS + " WHERE dead_time>0 AND (?='' OR group_id=?)"
	result, err := d.sql.ExecContext(ctx, query, group, group)
	if err != nil {
		return 0, fmt.Errorf("retry events: %w", err)
	}
	return result.RowsAffected()
}

// ReplayHooks has the messages of a range told once more, as far as they are there. It returns how many there are.
func (d *DB) ReplayHooks(ctx context.Context, group string, from, to int64) (n int64, err error) {
	var last int64
	query := "SELECT COUNT(*), COALESCE(MAX(msg_seq),0) FROM group_msg WHERE group_id=? AND msg_seq BETWEEN ? AND ?"
	err = d.sql.QueryRowContext(ctx, query, group, from, to).Scan(&n, &last)
	if err == nil && n > 0 {
		err = d.queueRows(ctx, d.sql, []domain.OutboxRow{{Group: group, Event: domain.HookAfterSend, From: from, To: last, TimeMS: d.now().UnixMilli()}})
	}
	if err != nil {
		return 0, fmt.Errorf("replay %s from %d to %d: %w", group, from, to, err)
	}
	return n, nil
}
