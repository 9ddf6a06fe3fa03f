package mysqlrepo

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"hearth/domain"
)

// insertRare writes what few messages have beside their row: whom they mention, and that they were recalled. repeated tells
// that some of the rows were there before.
func (d *DB) insertRare(ctx context.Context, tx *sql.Tx, msgs []*domain.Message, repeated bool) error {
	var mentioning []*domain.Message
	var recalls []domain.Recall
	for _, m := range msgs {
		switch {
		case m.RecalledMS != 0:
			recalls = append(recalls, recallOf(m))
		case len(m.Mentions) > 0:
			mentioning = append(mentioning, m)
		}
	}
	if err := d.insertRecalled(ctx, tx, recalls, repeated); err != nil {
		return err
	}
	if repeated {
		var err error
		if mentioning, err = stillThere(ctx, tx, mentioning); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(mentionsOf(mentioning), batchRows[0]) {
		args := make([]any, 0, 3*len(chunk))
		for _, m := range chunk {
			args = append(args, m.group, m.user, m.seq)
		}
		query := "INSERT INTO mention (group_id, user_id, msg_seq) VALUES " + strings.Repeat("(?,?,?),", len(chunk)-1) + "(?,?,?)" + d.dialect.keepGroup
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("insert %d mentions: %w", len(chunk), err)
		}
	}
	return nil
}

type mention struct {
	group, user string
	seq         int64
}

// mentionsOf are in the order of their key, as all rows are locked.
func mentionsOf(msgs []*domain.Message) (list []mention) {
	for _, m := range msgs {
		for _, user := range m.Mentions {
			list = append(list, mention{m.Group, user, m.Seq})
		}
	}
	slices.SortFunc(list, func(a, b mention) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.user, b.user), cmp.Compare(a.seq, b.seq))
	})
	return slices.Compact(list)
}

// insertRecalled notes recalls of messages that are stored as tombstones. A row that was there before may be none yet.
func (d *DB) insertRecalled(ctx context.Context, tx *sql.Tx, recalls []domain.Recall, repeated bool) error {
	if repeated {
		if err := d.recallRows(ctx, tx, recalls); err != nil {
			return err
		}
	}
	noted, err := d.noteRecalls(ctx, tx, recalls)
	if err != nil {
		return err
	}
	return d.queueRecalled(ctx, tx, noted)
}

// stillThere are those of messages that were not recalled since they were first stored: these mention nobody any more.
func stillThere(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) ([]*domain.Message, error) {
	keys := make([]storedKey, len(msgs))
	for i, m := range msgs {
		keys[i] = storedKey{m.Group, m.Seq}
	}
	recalled, err := recalledOf(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(msgs), func(m *domain.Message) bool { return recalled[storedKey{m.Group, m.Seq}] }), nil
}

// expireRare deletes what belongs to messages of a group up to a seq.
func expireRare(ctx context.Context, tx *sql.Tx, group string, last int64) error {
	for _, table := range [...]string{"mention", "recall"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE group_id=? AND msg_seq<=?", group, last); err != nil {
			return err
		}
	}
	return nil
}

const mentionsAQuery = 50 // groups: each is two reads of an index' end

// Mentioned is the highest seq in each range, of one group each, whose message mentions the user; none where there is none.
func (d *DB) Mentioned(ctx context.Context, user string, ranges []domain.Range) (map[string]int64, error) {
	found := make(map[string]int64)
	for chunk := range slices.Chunk(ranges, mentionsAQuery) {
		var parts []string
		var args []any
		for i, r := range chunk {
			for _, who := range [...]string{user, domain.MentionAll} {
				parts = append(parts, fmt.Sprintf("SELECT %d, MAX(msg_seq) FROM mention WHERE group_id=? AND user_id=? AND msg_seq BETWEEN ? AND ?", i))
				args = append(args, r.Group, who, r.From, r.To)
			}
		}
		err := each(ctx, d.sql, strings.Join(parts, " UNION ALL "), args, func(rows *sql.Rows) error {
			var i int
			var seq sql.NullInt64
			err := rows.Scan(&i, &seq)
			if err == nil && seq.Valid {
				found[chunk[i].Group] = max(found[chunk[i].Group], seq.Int64)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("mentions in %d groups: %w", len(ranges), err)
		}
	}
	return found, nil
}
