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

const (
	recallGroups  = 100 // in a query
	recallsAQuery = 100
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
	came := make(map[storedKey]int, len(recalls)) // in which place; two of one moment may be of the same time
	for i, r := range slices.Backward(recalls) {
		came[keyOf(r)] = i
	}
	recalls = slices.SortedStableFunc(slices.Values(recalls), func(a, b domain.Recall) int { // as every transaction locks rows
		return cmp.Or(strings.Compare(a.Group, b.Group), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.TimeMS, b.TimeMS))
	})
	recalls = slices.CompactFunc(recalls, func(a, b domain.Recall) bool { return keyOf(a) == keyOf(b) }) // the first one counts
	var noted []domain.Recall
	for chunk := range slices.Chunk(recalls, recallsAQuery) {
		some, err := d.recallSome(ctx, tx, chunk)
		if err != nil {
			return err
		}
		noted = append(noted, some...)
	}
	slices.SortFunc(noted, func(a, b domain.Recall) int { return cmp.Compare(came[keyOf(a)], came[keyOf(b)]) })
	return d.queueRecalled(ctx, tx, noted)
}

// recallSome takes a handful of statements, however many recalls there are: somebody may be cleaning up behind a spammer,
// and the log waits.
func (d *DB) recallSome(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) (noted []domain.Recall, err error) {
	open, missing, err := d.lockOpen(ctx, tx, recalls)
	if err != nil {
		return nil, err
	}
	var retried []domain.Recall // perhaps: while the letter was waited for it became a row
	for _, r := range missing {
		found, err := d.recallLetter(ctx, tx, r)
		if err != nil {
			return nil, fmt.Errorf("dead letter %s/%d: %w", r.Group, r.Seq, err)
		}
		if !found {
			retried = append(retried, r)
		}
	}
	late, _, err := d.lockOpen(ctx, tx, retried)
	if open = append(open, late...); err != nil || len(open) == 0 {
		return nil, err
	}
	if err := forgetMentions(ctx, tx, open); err != nil {
		return nil, fmt.Errorf("delete mentions: %w", err)
	}
	if noted, err = d.noteRecalls(ctx, tx, open); err != nil {
		return nil, err
	}
	const theirs = " FROM recall r WHERE r.group_id=group_msg.group_id AND r.msg_seq=group_msg.msg_seq)"
	where, args := pointsOf(keysOf(open))
	query := "UPDATE group_msg" + d.dialect.byKey + " SET msg_body='', recalled_time=(SELECT r.recalled_time" + theirs +
		", recalled_by=(SELECT r.recalled_by" + theirs + " WHERE " + where
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return nil, fmt.Errorf("empty rows: %w", err)
	}
	return noted, nil
}

// forgetMentions looks before it deletes: few messages mention anybody.
func forgetMentions(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) error {
	var mentioning []storedKey
	where, args := pointsOf(keysOf(recalls))
	err := each(ctx, tx, "SELECT DISTINCT group_id, msg_seq FROM mention WHERE "+where+" ORDER BY group_id, msg_seq", args, func(rows *sql.Rows) error {
		var key storedKey
		err := rows.Scan(&key.group, &key.seq)
		mentioning = append(mentioning, key)
		return err
	})
	for _, key := range mentioning {
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM mention WHERE group_id=? AND msg_seq=?", key.group, key.seq)
		}
	}
	return err
}

// lockOpen locks the rows of recalls. open are those that are not done yet; of missing there is no row.
func (d *DB) lockOpen(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) (open, missing []domain.Recall, err error) {
	if len(recalls) == 0 {
		return nil, nil, nil
	}
	times := make(map[storedKey]int64, len(recalls)) // 0: not recalled
	where, args := pointsOf(keysOf(recalls))
	query := "SELECT group_id, msg_seq, recalled_time FROM group_msg" + d.dialect.byKey + " WHERE " + where + " ORDER BY group_id, msg_seq" + d.dialect.forUpdate
	err = each(ctx, tx, query, args, func(rows *sql.Rows) error {
		var key storedKey
		var timeMS int64
		err := rows.Scan(&key.group, &key.seq, &timeMS)
		times[key] = timeMS
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("lock rows: %w", err)
	}
	for _, r := range recalls {
		switch timeMS, there := times[keyOf(r)]; {
		case !there:
			missing = append(missing, r)
		case timeMS == 0:
			open = append(open, r)
		}
	}
	return open, missing, nil
}

// noteRecalls notes recalls for those who ask later, and returns which had not been noted before. The rows of the messages
// are locked.
func (d *DB) noteRecalls(ctx context.Context, tx *sql.Tx, recalls []domain.Recall) (noted []domain.Recall, err error) {
	for chunk := range slices.Chunk(recalls, recallsAQuery) {
		before, err := recalledOf(ctx, tx, keysOf(chunk))
		if err != nil {
			return nil, err
		}
		first := slices.DeleteFunc(slices.Clone(chunk), func(r domain.Recall) bool { return before[keyOf(r)] })
		if len(first) == 0 {
			continue
		}
		args := make([]any, 0, 4*len(first))
		for _, r := range first {
			args = append(args, r.Group, r.Seq, r.TimeMS, r.By)
		}
		query := "INSERT INTO recall (group_id, msg_seq, recalled_time, recalled_by) VALUES " + strings.Repeat("(?,?,?,?),", len(first)-1) + "(?,?,?,?)" + d.dialect.keepGroup
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return nil, fmt.Errorf("insert %d recalls: %w", len(first), err)
		}
		noted = append(noted, first...)
	}
	return noted, nil
}

// recallOf is the recall that made a tombstone of a message.
func recallOf(m *domain.Message) domain.Recall {
	return domain.Recall{Group: m.Group, Seq: m.Seq, TimeMS: m.RecalledMS, By: m.RecalledBy}
}

func keyOf(r domain.Recall) storedKey { return storedKey{r.Group, r.Seq} }

func keysOf(recalls []domain.Recall) []storedKey {
	keys := make([]storedKey, len(recalls))
	for i, r := range recalls {
		keys[i] = keyOf(r)
	}
	return keys
}

// pointsOf is a condition that is true of keys, with its parameters.
func pointsOf(keys []storedKey) (where string, args []any) {
	for _, key := range keys {
		args = append(args, key.group, key.seq)
	}
	return anyOf(len(keys), "group_id=? AND msg_seq=?"), args
}

// recalledOf tells which messages were recalled.
func recalledOf(ctx context.Context, tx *sql.Tx, keys []storedKey) (map[storedKey]bool, error) {
	recalled := make(map[storedKey]bool)
	for chunk := range slices.Chunk(keys, recallsAQuery) {
		where, args := pointsOf(chunk)
		err := each(ctx, tx, "SELECT group_id, msg_seq FROM recall WHERE "+where, args, func(rows *sql.Rows) error {
			var key storedKey
			err := rows.Scan(&key.group, &key.seq)
			recalled[key] = true
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("which messages were recalled: %w", err)
		}
	}
	return recalled, nil
}

// recallLetter empties a dead letter; found is false when there is none.
func (d *DB) recallLetter(ctx context.Context, tx *sql.Tx, r domain.Recall) (found bool, err error) {
	letter, err := d.lockLetter(ctx, tx, r.Group, r.Seq)
	if domain.CodeOf(err) == domain.CodeNotFound {
		return false, nil
	}
	if err != nil || letter.RecalledMS != 0 {
		return true, err
	}
	r.ApplyTo(&letter.Message)
	payload, err := payloadOf(&letter.Message)
	if err != nil {
		return true, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE dead_letter SET payload=? WHERE group_id=? AND msg_seq=?", payload, r.Group, r.Seq)
	return true, err
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
