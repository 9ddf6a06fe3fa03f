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
	query := "UPDATE group_msg SET recalled_time=?, recalled_by=?, msg_body='' WHERE group_id=? AND msg_seq=? AND recalled_time=0"
	for _, r := range recalls {
		result, err := tx.ExecContext(ctx, query, r.TimeMS, r.By, r.Group, r.Seq)
		if err != nil {
			return fmt.Errorf("%s/%d: %w", r.Group, r.Seq, err)
		}
		emptied, err := result.RowsAffected()
		if err == nil && emptied == 0 {
			err = d.recallLetter(ctx, tx, r)
		}
		if err != nil {
			return fmt.Errorf("%s/%d: %w", r.Group, r.Seq, err)
		}
	}
	return nil
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

// RecalledSince are the recalls after the time in each group, up to the seq given.
func (d *DB) RecalledSince(ctx context.Context, afterMS int64, upTo map[string]int64) (map[string][]domain.Recall, error) {
	found := make(map[string][]domain.Recall)
	for groups := range slices.Chunk(slices.Sorted(maps.Keys(upTo)), 100) {
		var args []any
		for _, group := range groups {
			args = append(args, group, afterMS, upTo[group])
		}
		query := "SELECT group_id, msg_seq, recalled_time, recalled_by FROM group_msg WHERE " + anyOf(len(groups), "group_id=? AND recalled_time>? AND msg_seq<=?")
		err := each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
			var r domain.Recall
			err := rows.Scan(&r.Group, &r.Seq, &r.TimeMS, &r.By)
			found[r.Group] = append(found[r.Group], r)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("recalls in %d groups: %w", len(upTo), err)
		}
	}
	return found, nil
}
