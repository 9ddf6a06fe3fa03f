package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"hearth/domain"
)

// InsertLate is insertLate in a transaction of its own, for what an instance brings that was cut off or stood still while
// a newer generation was settled.
func (d *DB) InsertLate(ctx context.Context, messages []domain.Message) (filled map[string]int64, err error) {
	msgs := sorted(messages)
	err = d.tx(ctx, func(tx *sql.Tx) (err error) {
		filled, err = d.insertLate(ctx, tx, msgs)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("insert %d messages late: %w", len(messages), err)
	}
	return filled, nil
}

// insertLate stores messages whose seqs may have been given up meanwhile: it takes their seqs out of the holes that
// cover them. filled is, for each group in which history changed where clients may have passed it, the lowest seq that
// came back. Left alone are messages that are stored already, those that their senders have repeated, and those in an
// expired hole: retention has decided about them. It fails with ErrSeqTaken when a seq has another message.
//
// It keeps seeds and inserts of the messages' partitions waiting: what looks for gaps beside it would make holes of the
// rows it cannot see yet.
func (d *DB) insertLate(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) (filled map[string]int64, err error) {
	msgs = slices.SortedStableFunc(slices.Values(msgs), domain.CompareMessages)
	settled, err := d.lockSettled(ctx, tx, msgs)
	if err != nil {
		return nil, err
	}
	filled = make(map[string]int64)
	for len(msgs) > 0 {
		group := msgs[0].Group
		n := slices.IndexFunc(msgs, func(m *domain.Message) bool { return m.Group != group })
		if n < 0 {
			n = len(msgs)
		}
		first, err := d.insertLateInto(ctx, tx, group, settled[d.partitions.Of(group)], msgs[:n])
		if err != nil {
			return nil, fmt.Errorf("insert %d messages of %s late: %w", n, group, err)
		}
		if first > 0 {
			filled[group] = first
		}
		msgs = msgs[n:]
	}
	return filled, nil
}

// lockSettled locks the generations of the messages' partitions and tells which are settled.
func (d *DB) lockSettled(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) (map[int]int64, error) {
	settled := make(map[int]int64)
	for _, m := range msgs {
		settled[d.partitions.Of(m.Group)] = 0
	}
	for _, p := range slices.Sorted(maps.Keys(settled)) { // in the order in which inserts share them
		row, err := d.lockGeneration(ctx, tx, p)
		if err != nil {
			return nil, fmt.Errorf("generation of partition %d: %w", p, err)
		}
		settled[p] = row.Settled
	}
	return settled, nil
}

// insertLateInto is insertLate for one group; first is the lowest seq that came back, 0 for none.
func (d *DB) insertLateInto(ctx context.Context, tx *sql.Tx, group string, settled int64, msgs []*domain.Message) (first int64, err error) {
	before, err := d.lockHoles(ctx, tx, group)
	if err != nil {
		return 0, err
	}
	stored, err := storedOf(ctx, tx, msgs)
	if err != nil {
		return 0, err
	}
	after := slices.Clone(before)
	var fresh []*domain.Message
	var recalls []domain.Recall // of rows that may not know of them
	for _, m := range msgs {
		hole, in := after.At(m.Seq)
		content, there := stored[storedKey{m.Group, m.Seq}]
		if there && content != (storedContent{m.Hash, m.Gen}) {
			return 0, &SeqTakenError{Group: m.Group, Seq: m.Seq}
		}
		if there && m.RecalledMS != 0 {
			recalls = append(recalls, recallOf(m))
		}
		if in && hole.Reason == domain.HoleExpired {
			continue
		}
		if !there {
			repeated, err := isRepeated(ctx, tx, m, fresh)
			if err != nil {
				return 0, err
			}
			if repeated {
				continue
			}
			fresh = append(fresh, m)
		}
		if in { // also where the row was there: nothing has a row and a hole
			after = without(after, m.Seq)
		}
		// In no hole, only one that is older than what is settled may have been passed: the floor is without it.
		if first == 0 && (in || !there && m.Gen < settled) {
			first = m.Seq
		}
	}
	if err := replaceHoles(ctx, tx, group, before, after); err != nil {
		return 0, err
	}
	if err := d.insertFresh(ctx, tx, fresh); err != nil {
		return 0, err
	}
	return first, d.recallRows(ctx, tx, recalls)
}

// lockHoles reads the rows of a group's holes, as they are, and keeps others from changing them.
func (d *DB) lockHoles(ctx context.Context, tx *sql.Tx, group string) (holes domain.Holes, err error) {
	query := "SELECT from_seq, to_seq, reason FROM seq_hole WHERE group_id=? ORDER BY from_seq" + d.dialect.forUpdate
	err = each(ctx, tx, query, []any{group}, func(rows *sql.Rows) error {
		var h domain.Hole
		err := rows.Scan(&h.From, &h.To, &h.Reason)
		holes = append(holes, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lock holes: %w", err)
	}
	return holes, nil
}

// isRepeated reports whether the sender has sent the message once more, under another seq: one of fresh, which are about
// to be inserted, or one that is stored.
func isRepeated(ctx context.Context, tx *sql.Tx, m *domain.Message, fresh []*domain.Message) (repeated bool, err error) {
	if m.ClientID == "" {
		return false, nil
	}
	from, to := m.TimeMS-domain.DedupeWindow.Milliseconds(), m.TimeMS+domain.DedupeWindow.Milliseconds()
	for _, f := range fresh {
		if f.From == m.From && f.ClientID == m.ClientID && f.TimeMS >= from && f.TimeMS <= to {
			return true, nil
		}
	}
	query := "SELECT 1 FROM group_msg WHERE group_id=? AND msg_time BETWEEN ? AND ? AND from_account=? AND client_id=? LIMIT 1"
	err = each(ctx, tx, query, []any{m.Group, from, to, m.From, m.ClientID}, func(*sql.Rows) error {
		repeated = true
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("look for repeats: %w", err)
	}
	return repeated, nil
}

// without splits the hole that covers a seq around it.
func without(holes domain.Holes, seq int64) domain.Holes {
	var left domain.Holes
	for _, h := range holes {
		if seq < h.From || seq > h.To {
			left = append(left, h)
			continue
		}
		for _, part := range (domain.Holes{{From: h.From, To: seq - 1, Reason: h.Reason}, {From: seq + 1, To: h.To, Reason: h.Reason}}) {
			if part.From <= part.To {
				left = append(left, part)
			}
		}
	}
	return left
}

// replaceHoles writes the rows in which after differs from before.
func replaceHoles(ctx context.Context, tx *sql.Tx, group string, before, after domain.Holes) error {
	for _, h := range before {
		if slices.Contains(after, h) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM seq_hole WHERE group_id=? AND from_seq=?", group, h.From); err != nil {
			return fmt.Errorf("delete hole: %w", err)
		}
	}
	for _, h := range after {
		if slices.Contains(before, h) {
			continue
		}
		if err := insertHole(ctx, tx, group, h); err != nil {
			return err
		}
	}
	return nil
}

func insertHole(ctx context.Context, tx *sql.Tx, group string, h domain.Hole) error {
	query := "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES (?,?,?,?)"
	if _, err := tx.ExecContext(ctx, query, group, h.From, h.To, h.Reason); err != nil {
		return fmt.Errorf("insert hole: %w", err)
	}
	return nil
}

// insertFresh inserts rows that are not there, and raises their senders' read marks. It prepares nothing, which would
// take another connection beside the transaction's.
func (d *DB) insertFresh(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if err := d.queueMessages(ctx, tx, msgs); err != nil {
		return err
	}
	b := d.batchFor(msgs)
	if err := d.insertRows(ctx, tx, b, d.lengthsOf(msgs), msgs); err != nil {
		return err
	}
	marks := senderMarks(msgs)
	return d.raiseMarks(ctx, tx, plan(len(marks), d.dialect.maxInsert, markSize), marks)
}
