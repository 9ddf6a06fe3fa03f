package mysqlrepo

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hearth/domain"
)

const recallGroups = 100 // in a query

// RecallMessages does recalls in a transaction of their own. No generation is asked for: a seq is never given to another
// message, so it is never too late for the word that one was recalled.
func (d *DB) RecallMessages(ctx context.Context, recalls []domain.Recall) error {
	err := d.tx(ctx, func(tx *sql.Tx) error { return d.recallRows(ctx, tx, recalls) })
	if err != nil {
		return fmt.Errorf("recall %d messages: %w", len(recalls), err)
	}
	return nil
}

// recallRows empties rows that were recalled; those that are recalled already stay as they are. A message without a row is
// one that has expired, or that was refused: its dead letter would bring the content back.
func (d *DB) recallRows(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) error {
	recalls = slices.SortedFunc(slices.Values(recalls), func(a, b domain.Recall) int { // as every transaction locks rows
		return cmp.Or(strings.Compare(a.Group, b.Group), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.TimeMS, b.TimeMS))
	})
	var written []domain.Recall
	query := "UPDATE group_msg SET recalled_time=?, recalled_by=?, msg_body='' WHERE group_id=? AND msg_seq=? AND recalled_time=0"
	for _, r := range recalls {
		result, err := tx.ExecContext(ctx, query, r.TimeMS, r.By, r.Group, r.Seq)
		if err != nil {
			return fmt.Errorf("%s/%d: %w", r.Group, r.Seq, err)
		}
		emptied, err := result.RowsAffected()
		inserted := false
		switch {
		case err != nil:
		case emptied == 0:
			err = d.recallLetter(ctx, tx, r)
		default:
			inserted, err = d.noteRecall(ctx, tx, r)
		}
		if err != nil {
			return fmt.Errorf("%s/%d: %w", r.Group, r.Seq, err)
		}
		if inserted {
			written = append(written, r)
		}
	}
	return d.queueRecalled(ctx, tx, written)
}

// noteRecall is what else follows from a recall: who was mentioned is not any more.
func (d *DB) noteRecall(ctx context.Context, tx *sql.Tx, r domain.Recall) (inserted bool, err error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM mention WHERE group_id=? AND msg_seq=?", r.Group, r.Seq); err != nil {
		return false, fmt.Errorf("delete mentions: %w", err)
	}
	return d.insertRecall(ctx, tx, r)
}

// recallLetter empties a dead letter.
func (d *DB) recallLetter(ctx context.Context, tx *sql.Tx, r domain.Recall) error {
	letter, err := d.lockLetter(ctx, tx, r.Group, r.Seq)
	if domain.CodeOf(err) == domain.CodeNotFound {
		return nil
	}
	if err != nil || letter.RecalledMS != 0 {
		return err
	}
	r.ApplyTo(&letter.Message)
	payload, err := payloadOf(&letter.Message)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE dead_letter SET payload=? WHERE group_id=? AND msg_seq=?", payload, r.Group, r.Seq)
	return err
}

// RecalledSince are the recalls after the time in each group, up to the seq given, of the first groups by id that have no
// more than limit together; rest are the other groups. limit 0: all have room.
func (d *DB) RecalledSince(ctx context.Context, afterMS int64, upTo map[string]int64, limit int) (found map[string][]domain.Recall, rest []string, err error) {
	found = make(map[string][]domain.Recall)
	groups, n := slices.Sorted(maps.Keys(upTo)), 0
	for len(groups) > 0 {
		asked := groups[:min(len(groups), recallGroups)]
		var args []any
		for _, group := range asked {
			args = append(args, group, afterMS, upTo[group])
		}
		query := "SELECT group_id, msg_seq, recalled_time, recalled_by FROM recall WHERE " + anyOf(len(asked), "group_id=? AND recalled_time>? AND msg_seq<=?") + " ORDER BY group_id"
		if limit > 0 {
			query, args = query+" LIMIT ?", append(args, limit-n+1)
		}
		last := ""
		err := each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
			var r domain.Recall
			err := rows.Scan(&r.Group, &r.Seq, &r.TimeMS, &r.By)
			found[r.Group] = append(found[r.Group], r)
			n++
			last = r.Group
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("recalls in %d groups: %w", len(upTo), err)
		}
		if limit > 0 && n > limit { // of the last one there may be more
			delete(found, last)
			return found, groups[slices.Index(groups, last):], nil
		}
		groups = groups[len(asked):]
	}
	return found, nil, nil
}
