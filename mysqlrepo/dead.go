package mysqlrepo

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"hearth/domain"
)

// letterPayload is a message whole. Its body is bytes, which JSON has as base64: they may be what was refused, and
// have to come back as they are.
type letterPayload struct {
	domain.Header
	GroupType domain.GroupType `json:"type"`
	Body      []byte           `json:"body"`
	Hash      string           `json:"hash"`
}

func payloadOf(m *domain.Message) ([]byte, error) {
	payload, err := json.Marshal(letterPayload{m.Header, m.GroupType, m.Body, m.Hash})
	if err != nil {
		return nil, fmt.Errorf("message %s/%d: %w", m.Group, m.Seq, err)
	}
	return payload, nil
}

// AddDeadLetter puts a message aside that was refused, and makes a hole of its seq, in one transaction. Doing it again
// changes nothing. dead is false when the message is stored after all: another instance was luckier. Where another
// message has the seq, there is no hole.
//
// It fails with ErrFenced when a generation above the message's is settled.
func (d *DB) AddDeadLetter(ctx context.Context, m *domain.Message, reason string) (dead bool, err error) {
	payload, err := payloadOf(m)
	if err != nil {
		return false, err
	}
	gens := map[int]int64{d.partitions.Of(m.Group): m.Gen}
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.fence(ctx, tx, gens); err != nil {
			return err
		}
		stored, err := storedOf(ctx, tx, []*domain.Message{m})
		if err != nil {
			return err
		}
		content, there := stored[storedKey{m.Group, m.Seq}]
		dead = content != (storedContent{m.Hash, m.Gen})
		if !dead {
			return nil
		}
		query := "INSERT INTO dead_letter (group_id, msg_seq, gen, msg_time, error, payload, created_time) VALUES (?,?,?,?,?,?,?)" + d.dialect.keepGroup
		if _, err := tx.ExecContext(ctx, query, m.Group, m.Seq, m.Gen, m.TimeMS, reason, payload, d.now().UnixMilli()); err != nil {
			return err
		}
		if there {
			return nil
		}
		return d.addHole(ctx, tx, m.Group, m.Seq)
	})
	if err != nil {
		return false, fmt.Errorf("put message %s/%d aside: %w", m.Group, m.Seq, err)
	}
	return dead, nil
}

// addHole makes a hole of a seq, unless it is in one.
func (d *DB) addHole(ctx context.Context, tx *sql.Tx, group string, seq int64) error {
	holes, err := d.lockHoles(ctx, tx, group)
	if err != nil {
		return err
	}
	if _, in := holes.At(seq); in {
		return nil
	}
	return insertHole(ctx, tx, group, domain.Hole{From: seq, To: seq, Reason: domain.HoleLost})
}

// CountDeadLetters is how many there are.
func (d *DB) CountDeadLetters(ctx context.Context) (n int64, err error) {
	if err := d.sql.QueryRowContext(ctx, "SELECT COUNT(*) FROM dead_letter").Scan(&n); err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	return n, nil
}

const letterColumns = "group_id, msg_seq, gen, msg_time, error, payload, created_time"

// DeadLetters lists what was put aside.
func (d *DB) DeadLetters(ctx context.Context, q domain.LetterQuery) (letters []domain.DeadLetter, err error) {
	where, args := "(group_id>? OR group_id=? AND msg_seq>?)", []any{q.AfterGroup, q.AfterGroup, q.AfterSeq}
	if q.Group != "" {
		where, args = "group_id=? AND "+where, append([]any{q.Group}, args...)
	}
	query := "SELECT " + letterColumns + " FROM dead_letter WHERE " + where + " ORDER BY group_id, msg_seq LIMIT ?"
	err = each(ctx, d.sql, query, append(args, q.Limit), func(rows *sql.Rows) error {
		letter, err := scanLetter(rows)
		letters = append(letters, letter)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

func scanLetter(rows *sql.Rows) (l domain.DeadLetter, err error) {
	var stored []byte
	if err := rows.Scan(&l.Group, &l.Seq, &l.Gen, &l.TimeMS, &l.Reason, &stored, &l.CreatedMS); err != nil {
		return l, err
	}
	var payload letterPayload
	if err := json.Unmarshal(stored, &payload); err != nil {
		return l, fmt.Errorf("payload of %s/%d: %w", l.Group, l.Seq, err)
	}
	l.Header, l.GroupType, l.Body, l.Hash = payload.Header, payload.GroupType, payload.Body, payload.Hash
	return l, nil
}

// RetryDeadLetter stores a dead letter's message late and forgets the letter, in one transaction; see insertLate for
// filled. stored is nil where the message is not wanted any more: its sender has repeated it, or its seq has expired.
// not_found: there is no such letter (any more). While MySQL refuses it, nothing changes.
func (d *DB) RetryDeadLetter(ctx context.Context, group string, seq int64) (stored *domain.Message, filled map[string]int64, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		letter, err := d.lockLetter(ctx, tx, group, seq)
		if err != nil {
			return err
		}
		msgs := []*domain.Message{&letter.Message}
		if filled, err = d.insertLate(ctx, tx, msgs); err != nil {
			return err
		}
		rows, err := storedOf(ctx, tx, msgs)
		if err != nil {
			return err
		}
		if _, ok := rows[storedKey{group, seq}]; ok {
			stored = &letter.Message
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM dead_letter WHERE group_id=? AND msg_seq=?", group, seq)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("retry message %s/%d: %w", group, seq, err)
	}
	return stored, filled, nil
}

func (d *DB) lockLetter(ctx context.Context, tx *sql.Tx, group string, seq int64) (letter domain.DeadLetter, err error) {
	query := "SELECT " + letterColumns + " FROM dead_letter WHERE group_id=? AND msg_seq=?" + d.dialect.forUpdate
	found := false
	err = each(ctx, tx, query, []any{group, seq}, func(rows *sql.Rows) (err error) {
		found = true
		letter, err = scanLetter(rows)
		return err
	})
	if err == nil && !found {
		err = domain.Errorf(domain.CodeNotFound, "there is no such dead letter")
	}
	return letter, err
}
