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

// Readers counts who has read a message, and names them by id if they are no more than q.Names. Marks and members are of
// one moment.
func (d *DB) Readers(ctx context.Context, q domain.ReaderQuery) (count int, users []string, err error) {
	err = d.view(ctx, func(tx *sql.Tx) error {
		more, err := pendingReaders(ctx, tx, q)
		if err != nil {
			return err
		}
		if users, err = readerNames(ctx, tx, q, q.Names+1); err != nil {
			return err
		}
		count = len(users)
		if count > q.Names { // some were left out
			if count, err = countReaders(ctx, tx, q); err != nil {
				return err
			}
		}
		if count += len(more); count > q.Names {
			users = nil
			return nil
		}
		users = append(users, more...)
		slices.Sort(users)
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("readers of %s up to %d: %w", q.Group, q.Seq, err)
	}
	return count, users, nil
}

// readersFrom is who counts by his mark; readersArgs are its parameters.
func readersFrom(q domain.ReaderQuery) string {
	from := " FROM group_read AS r WHERE r.group_id=? AND r.read_seq>=? AND r.user_id<>?"
	if q.Members {
		from += " AND EXISTS (SELECT 1 FROM group_member AS m" +
			" WHERE m.group_id=r.group_id AND m.user_id=r.user_id AND m.role NOT IN (?,?))"
	}
	return from
}

func readersArgs(q domain.ReaderQuery) []any {
	args := []any{q.Group, q.Seq, q.Without}
	if q.Members {
		args = append(args, anys(notIn)...)
	}
	return args
}

func countReaders(ctx context.Context, tx *sql.Tx, q domain.ReaderQuery) (n int, err error) {
	err = each(ctx, tx, "SELECT COUNT(*)"+readersFrom(q), readersArgs(q), func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, err
}

func readerNames(ctx context.Context, tx *sql.Tx, q domain.ReaderQuery, limit int) ([]string, error) {
	query := "SELECT r.user_id" + readersFrom(q) + " ORDER BY r.user_id LIMIT ?"
	return usersIn(ctx, tx, query, append(readersArgs(q), limit))
}

// pendingReaders are those of q.Pending who count, but not by their marks.
func pendingReaders(ctx context.Context, tx *sql.Tx, q domain.ReaderQuery) (users []string, err error) {
	for chunk := range slices.Chunk(q.Pending, 100) {
		in := " AND r.user_id IN (" + marksOf(len(chunk)) + ")"
		marked, err := usersIn(ctx, tx, "SELECT r.user_id"+readersFrom(q)+in, append(readersArgs(q), anys(chunk)...))
		if err != nil {
			return nil, err
		}
		if q.Members {
			query := "SELECT r.user_id FROM group_member AS r WHERE r.group_id=? AND r.role NOT IN (?,?)" + in
			if chunk, err = usersIn(ctx, tx, query, slices.Concat([]any{q.Group}, anys(notIn), anys(chunk))); err != nil {
				return nil, err
			}
		}
		for _, user := range chunk {
			if user != q.Without && !slices.Contains(marked, user) {
				users = append(users, user)
			}
		}
	}
	return users, nil
}

func usersIn(ctx context.Context, tx *sql.Tx, query string, args []any) (users []string, err error) {
	err = each(ctx, tx, query, args, func(rows *sql.Rows) error {
		var user string
		err := rows.Scan(&user)
		users = append(users, user)
		return err
	})
	return users, err
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
