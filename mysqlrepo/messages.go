package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"hearth/domain"
)

// Two forms of the same INSERT: most messages need no more than the plain columns, and the others cost a fifth.
const (
	plainColumns = "group_id, msg_seq, msg_time, type, from_account, client_id, content_hash, msg_body, gen, created_time"
	rareColumns  = ", operator_account, mentions, reply_to, recalled_time, recalled_by"
	plainParams  = 10
	rareParams   = 5
)

func newMessageBatches(d *dialect) (plain, full *batch) {
	plain = &batch{head: "INSERT INTO group_msg (" + plainColumns + ") VALUES ", params: plainParams, tail: d.keepGroup}
	full = &batch{
		head:   "INSERT INTO group_msg (" + plainColumns + rareColumns + ") VALUES ",
		params: plainParams + rareParams, tail: d.keepGroup,
	}
	return plain, full
}

// InsertMessages stores messages, moves their senders' read marks, and does recalls, of these messages or of others, in one
// transaction. Rows that are there already are left alone, so a batch may be repeated. partitionGens names the generation of
// each partition that has messages or recalls here.
//
// It fails with ErrFenced, and stores nothing, when a generation above that is settled; with ErrSeqTaken when a
// seq has a message of other content or generation.
func (d *DB) InsertMessages(ctx context.Context, partitionGens map[int]int64, msgs []domain.Message, recalls ...domain.Recall) error {
	if len(msgs)+len(recalls) == 0 {
		return nil
	}
	if err := d.insertMessages(ctx, partitionGens, sorted(msgs), recalls); err != nil {
		return fmt.Errorf("insert %d messages, recall %d: %w", len(msgs), len(recalls), err)
	}
	return nil
}

// sorted orders by (group, seq).
func sorted(msgs []domain.Message) []*domain.Message {
	list := make([]*domain.Message, len(msgs))
	for i := range msgs {
		list[i] = &msgs[i]
	}
	if !slices.IsSortedFunc(list, domain.CompareMessages) {
		slices.SortStableFunc(list, domain.CompareMessages)
	}
	return list
}

func (d *DB) insertMessages(ctx context.Context, gens map[int]int64, msgs []*domain.Message, recalls []domain.Recall) error {
	if err := d.checkGenerations(gens, msgs); err != nil {
		return err
	}
	b, lengths := d.batchFor(msgs), d.lengthsOf(msgs)
	if err := b.prepare(ctx, d.sql, lengths); err != nil {
		return err
	}
	marks := senderMarks(msgs)
	markLengths, err := d.prepareMarks(ctx, marks)
	if err != nil {
		return err
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := d.fence(ctx, tx, gens); err != nil {
			return err
		}
		if err := d.queueMessages(ctx, tx, msgs); err != nil {
			return err
		}
		if err := d.insertRows(ctx, tx, b, lengths, msgs); err != nil {
			return err
		}
		if err := d.recallRows(ctx, tx, recalls); err != nil {
			return err
		}
		return d.raiseMarks(ctx, tx, markLengths, marks)
	})
}

func (d *DB) batchFor(msgs []*domain.Message) *batch {
	if slices.ContainsFunc(msgs, isRare) {
		return d.insertFull
	}
	return d.insertPlain
}

// lengthsOf are the lengths of the statements that insert messages.
func (d *DB) lengthsOf(msgs []*domain.Message) []int {
	return plan(len(msgs), d.dialect.maxInsert, func(i int) int { return len(msgs[i].Body) + 512 })
}

// checkGenerations refuses what the fence would not see: a message of a partition or of a generation that the
// caller did not name.
func (d *DB) checkGenerations(gens map[int]int64, msgs []*domain.Message) error {
	group, gen, partition, known := "", int64(0), 0, false
	for i, m := range msgs {
		if i == 0 || m.Group != group {
			group, partition = m.Group, d.partitions.Of(m.Group)
			gen, known = gens[partition]
		}
		if !known || m.Gen < gen {
			return fmt.Errorf("message %s/%d is of generation %d, the caller says %d for its partition %d", m.Group, m.Seq, m.Gen, gen, partition)
		}
	}
	return nil
}

// fence keeps the generations of the partitions as they are until tx ends, and fails when a newer one is settled:
// what is inserted is then either there when the next generation looks for the highest seq, or not at all.
func (d *DB) fence(ctx context.Context, tx *sql.Tx, gens map[int]int64) error {
	partitions := make([]any, 0, len(gens))
	for p := range gens {
		partitions = append(partitions, p)
	}
	query := "SELECT partition_id, settled FROM generation WHERE partition_id IN (" + marksOf(len(partitions)) + ") ORDER BY partition_id" + d.dialect.forShare
	return each(ctx, tx, query, partitions, func(rows *sql.Rows) error {
		var e FencedError
		if err := rows.Scan(&e.Partition, &e.Settled); err != nil {
			return err
		}
		if e.Gen = gens[e.Partition]; e.Settled > e.Gen {
			return &e
		}
		return nil
	})
}

func isRare(m *domain.Message) bool {
	return m.Operator != "" || len(m.Mentions) > 0 || m.ReplyTo != 0 || m.RecalledMS != 0
}

func (d *DB) insertRows(ctx context.Context, tx *sql.Tx, b *batch, lengths []int, msgs []*domain.Message) error {
	var args []any
	var now any = d.now().UnixMilli()
	for _, length := range lengths {
		chunk := msgs[:length]
		msgs = msgs[length:]
		args = appendRows(args[:0], chunk, now, b == d.insertFull)
		added, err := b.exec(ctx, tx, args)
		if err != nil {
			return err
		}
		if added != int64(length) {
			if err := d.verifyStored(ctx, tx, chunk); err != nil {
				return err
			}
		}
		if err := d.insertRare(ctx, tx, chunk, added != int64(length)); err != nil {
			return err
		}
	}
	return nil
}

// appendRows appends the parameters of rows. What repeats from row to row is put into an interface once.
func appendRows(args []any, msgs []*domain.Message, now any, full bool) []any {
	var group, typ, gen any
	for i, m := range msgs {
		if i == 0 || m.Group != msgs[i-1].Group || m.Gen != msgs[i-1].Gen || m.GroupType != msgs[i-1].GroupType {
			group, typ, gen = m.Group, string(m.GroupType), m.Gen
		}
		args = append(args, group, m.Seq, m.TimeMS, typ, m.From, m.ClientID, m.Hash, string(m.Body), gen, now)
		if full {
			args = append(args, m.Operator, strings.Join(m.Mentions, ","), m.ReplyTo, m.RecalledMS, m.RecalledBy)
		}
	}
	return args
}

type storedKey struct {
	group string
	seq   int64
}

type storedContent struct {
	hash string
	gen  int64
}

// verifyStored fails unless what is stored is what should be: some of these rows were there before.
func (d *DB) verifyStored(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) error {
	stored, err := storedOf(ctx, tx, msgs)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if stored[storedKey{m.Group, m.Seq}] != (storedContent{m.Hash, m.Gen}) {
			return &SeqTakenError{Group: m.Group, Seq: m.Seq}
		}
	}
	return nil
}

// storedOf has what is stored under the seqs of messages.
func storedOf(ctx context.Context, tx *sql.Tx, msgs []*domain.Message) (map[storedKey]storedContent, error) {
	stored := make(map[storedKey]storedContent, len(msgs))
	for chunk := range slices.Chunk(msgs, 100) {
		args := make([]any, 0, 2*len(chunk))
		for _, m := range chunk {
			args = append(args, m.Group, m.Seq)
		}
		query := "SELECT group_id, msg_seq, content_hash, gen FROM group_msg WHERE " + anyOf(len(chunk), "group_id=? AND msg_seq=?")
		err := each(ctx, tx, query, args, func(rows *sql.Rows) error {
			var key storedKey
			var content storedContent
			if err := rows.Scan(&key.group, &key.seq, &content.hash, &content.gen); err != nil {
				return err
			}
			stored[key] = content
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read rows that were there before: %w", err)
		}
	}
	return stored, nil
}

// marksOf is n question marks with commas between.
func marksOf(n int) string { return strings.Repeat("?,", n-1) + "?" }

// anyOf is n times a condition, with OR between: both servers read it as n points of an index.
func anyOf(n int, condition string) string {
	return strings.Repeat("("+condition+") OR ", n-1) + "(" + condition + ")"
}
