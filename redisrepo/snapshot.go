package redisrepo

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/domain"
)

const (
	pieceLines = 250 // of a snapshot in one field of its hash: what a page of 200 reads is at most two
	savePieces = 20  // written in one command, some 50 kB
)

// SnapshotTurn tells which snapshot serves everybody; see domain.HeatCache.
func (s *Store) SnapshotTurn(ctx context.Context, typ, token string, hold time.Duration) (turn domain.SnapshotTurn, err error) {
	reply, err := s.run(ctx, turnScript, []string{hotKey(typ)}, token, hold.Milliseconds()).StringSlice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("an answer of %d parts", len(reply))
	}
	if err != nil {
		return turn, fmt.Errorf("turn to take a snapshot: %w", orFull(err))
	}
	return domain.SnapshotTurn{ID: reply[1], Fresh: reply[0] == "FRESH", Mine: reply[0] == "YOURS"}, nil
}

// SaveSnapshot keeps a snapshot and makes it the one that serves everybody; see domain.HeatCache.
func (s *Store) SaveSnapshot(ctx context.Context, typ, token string, snapshot domain.HotSnapshot, fresh, kept time.Duration) (current string, err error) {
	key := hotSnapshotKey(typ, snapshot.ID)
	fields := []any{"total", len(snapshot.Entries), "time", snapshot.TimeMS}
	for n := 0; ; n++ {
		from := n * pieceLines
		if from < len(snapshot.Entries) {
			fields = append(fields, n, packed(snapshot.Entries[from:min(from+pieceLines, len(snapshot.Entries))], snapshot.TimeMS))
		}
		last := from+pieceLines >= len(snapshot.Entries)
		if last || n%savePieces == savePieces-1 {
			pipe := s.rdb.TxPipeline() // as one, or it might be left without an end
			set := pipe.HSet(ctx, key, fields...)
			pipe.PExpire(ctx, key, kept)
			if _, err := pipe.Exec(ctx); err != nil {
				err = cmp.Or(set.Err(), err) // Exec says that it was refused, the command why
				return "", fmt.Errorf("save snapshot of %d groups: %w", len(snapshot.Entries), orFull(err))
			}
			fields = nil
		}
		if last {
			break
		}
	}
	return s.publish(ctx, typ, token, snapshot.ID, fresh, kept)
}

// NoSnapshot gives a turn back; see domain.HeatCache.
func (s *Store) NoSnapshot(ctx context.Context, typ, token string) error {
	_, err := s.publish(ctx, typ, token, "", 0, 0)
	return err
}

func (s *Store) publish(ctx context.Context, typ, token, id string, fresh, kept time.Duration) (current string, err error) {
	keys := []string{hotKey(typ)}
	current, err = s.run(ctx, publishScript, keys, token, id, fresh.Milliseconds(), kept.Milliseconds()).Text()
	if err != nil {
		return "", fmt.Errorf("end the turn to take a snapshot: %w", orFull(err))
	}
	return current, nil
}

// SnapshotPage reads limit lines of a snapshot; see domain.HeatCache.
func (s *Store) SnapshotPage(ctx context.Context, typ, id string, from, limit int, paging time.Duration) (page domain.HotSnapshot, total int, ok bool, err error) {
	if from > 0 {
		paging = 0
	}
	args := []any{paging.Milliseconds()}
	first := from / pieceLines
	for n := first; n*pieceLines < from+limit; n++ {
		args = append(args, n)
	}
	reply, err := s.run(ctx, pageScript, []string{hotSnapshotKey(typ, id)}, args...).Slice()
	if err != nil || len(reply) < 2 {
		if err != nil {
			err = fmt.Errorf("page of snapshot: %w", err)
		}
		return page, 0, false, err
	}
	page.ID = id
	if total, err = strconv.Atoi(field(reply, 0)); err != nil {
		return page, 0, false, fmt.Errorf("lines of snapshot: %w", err)
	}
	if page.TimeMS, err = strconv.ParseInt(field(reply, 1), 10, 64); err != nil {
		return page, 0, false, fmt.Errorf("time of snapshot: %w", err)
	}
	end := min(from+limit, total)
	for i := range reply[2:] {
		begin := (first + i) * pieceLines
		entries, err := unpacked(field(reply, 2+i), begin, page.TimeMS)
		if err != nil {
			return page, 0, false, fmt.Errorf("line of snapshot: %w", err)
		}
		low, high := max(from, begin), min(end, begin+len(entries))
		if low < high {
			page.Entries = append(page.Entries, entries[low-begin:high-begin]...)
		}
	}
	return page, total, true, nil
}

// packed is a piece: a line a group with its id, its heat, and how long before the snapshot its last message was, compressed. All
// else is read when a page is.
func packed(entries []domain.HotEntry, nowMS int64) []byte {
	lines := make([]byte, 0, 32*len(entries))
	for i := range entries {
		e := &entries[i]
		lines = append(append(lines, e.Group...), ' ')
		lines = strconv.AppendInt(lines, int64(e.Heat), 10)
		lines = append(strconv.AppendInt(append(lines, ' '), nowMS-e.LastMS, 10), '\n')
	}
	var piece bytes.Buffer
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	w.Reset(&piece)
	_, _ = w.Write(lines) // a buffer takes everything
	_ = w.Close()
	return piece.Bytes()
}

// packers are kept: one takes a megabyte.
var packers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // fails for other levels only
	return w
}}

// unpacked reads the lines of a piece, which stand behind so many; none of a piece that is missing.
func unpacked(piece string, before int, nowMS int64) (entries []domain.HotEntry, err error) {
	if piece == "" {
		return nil, nil
	}
	lines, err := io.ReadAll(flate.NewReader(strings.NewReader(piece)))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(lines)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			return nil, fmt.Errorf("%d words", len(words))
		}
		e := domain.HotEntry{Rank: before + len(entries) + 1, Group: words[0]}
		if e.Heat, err = strconv.Atoi(words[1]); err != nil {
			return nil, fmt.Errorf("heat of %s: %w", e.Group, err)
		}
		ago, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("last message of %s: %w", e.Group, err)
		}
		e.LastMS = nowMS - ago
		entries = append(entries, e)
	}
	return entries, nil
}
