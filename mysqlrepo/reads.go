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

func newMarkBatch(d *dialect) *batch {
	return &batch{head: "INSERT INTO group_read (group_id, user_id, read_seq) VALUES ", params: 3, tail: d.raiseRead}
}

type readMark struct {
	group, user string
	seq         int64
}

// highest sorts marks by (group, user), as every transaction locks them, and keeps the highest of each.
func highest(marks []readMark) []readMark {
	slices.SortFunc(marks, func(a, b readMark) int {
		if a.group != b.group {
			return strings.Compare(a.group, b.group)
		}
		if a.user != b.user {
			return strings.Compare(a.user, b.user)
		}
		return cmp.Compare(b.seq, a.seq)
	})
	return slices.CompactFunc(marks, func(a, b readMark) bool { return a.group == b.group && a.user == b.user })
}

// senderMarks are the marks that sending moves: who writes has read. App servers read nothing.
func senderMarks(msgs []*domain.Message) []readMark {
	marks := make([]readMark, 0, len(msgs))
	for _, m := range msgs {
		if m.Operator == "" && m.From != domain.SystemUser {
			marks = append(marks, readMark{m.Group, m.From, m.Seq})
		}
	}
	return highest(marks)
}

// SaveReadMarks raises read marks; higher ones that are stored stay.
func (d *DB) SaveReadMarks(ctx context.Context, marks map[domain.GroupUser]int64) error {
	list := make([]readMark, 0, len(marks))
	for who, seq := range marks {
		list = append(list, readMark{who.Group, who.User, seq})
	}
	list = highest(list)
	lengths, err := d.prepareMarks(ctx, list)
	if err == nil && len(list) > 0 {
		err = d.tx(ctx, func(tx *sql.Tx) error { return d.raiseMarks(ctx, tx, lengths, list) })
	}
	if err != nil {
		return fmt.Errorf("save %d read marks: %w", len(list), err)
	}
	return nil
}

func (d *DB) prepareMarks(ctx context.Context, marks []readMark) (lengths []int, err error) {
	lengths = plan(len(marks), d.dialect.maxInsert, markSize)
	return lengths, d.raiseReads.prepare(ctx, d.sql, lengths)
}

func markSize(int) int { return 256 }

func (d *DB) raiseMarks(ctx context.Context, tx *sql.Tx, lengths []int, marks []readMark) error {
	var args []any
	for _, length := range lengths {
		args = args[:0]
		for _, m := range marks[:length] {
			args = append(args, m.group, m.user, m.seq)
		}
		marks = marks[length:]
		if _, err := d.raiseReads.exec(ctx, tx, args); err != nil {
			return fmt.Errorf("raise %d read marks: %w", length, err)
		}
	}
	return nil
}

// Readers lists by id the users whose read mark is at least seq. limit 0: all.
func (d *DB) Readers(ctx context.Context, group string, seq int64, limit int) (users []string, err error) {
	query := "SELECT user_id FROM group_read WHERE group_id=? AND read_seq>=? ORDER BY user_id"
	args := []any{group, seq}
	if limit > 0 {
		query += " LIMIT ?"
		args = append(args, limit)
	}
	err = each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
		var user string
		err := rows.Scan(&user)
		users = append(users, user)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("readers of %s up to %d: %w", group, seq, err)
	}
	return users, nil
}

// ReadMarks reads many marks at once.
func (d *DB) ReadMarks(ctx context.Context, marks []domain.GroupUser) (map[domain.GroupUser]int64, error) {
	found := make(map[domain.GroupUser]int64, len(marks))
	for chunk := range slices.Chunk(marks, 100) {
		args := make([]any, 0, 2*len(chunk))
		for _, m := range chunk {
			found[m] = 0
			args = append(args, m.Group, m.User)
		}
		query := "SELECT group_id, user_id, read_seq FROM group_read WHERE " + anyOf(len(chunk), "group_id=? AND user_id=?")
		err := each(ctx, d.sql, query, args, func(rows *sql.Rows) error {
			var who domain.GroupUser
			var seq int64
			if err := rows.Scan(&who.Group, &who.User, &seq); err != nil {
				return err
			}
			found[who] = seq
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read %d read marks: %w", len(marks), err)
		}
	}
	return found, nil
}
