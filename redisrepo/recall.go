package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Recall recalls a message; see domain.RecallStore. What is acknowledged goes to the journal, with the message if MySQL may
// not have it: whoever brings the recall there must not come before the message.
func (s *Store) Recall(ctx context.Context, o domain.RecallOrder) (domain.RecallOutcome, error) {
	p, gen := s.of(o.Group)
	keys := []string{
		genKey(p), seqKey(p, gen), logKey(p, gen), persistedKey(p, gen), recentKey(p, gen, o.Group),
		recalledKey(p, gen, o.Group), recallingKey(p, gen), groupKey(p, o.Group),
	}
	answer, err := s.run(ctx, recallScript, keys, recallArguments(gen, s.cfg.Identity, groupChannel(p, o.Group), o)...).StringSlice()
	if err != nil {
		return domain.RecallOutcome{}, fmt.Errorf("recall in %s: %w", o.Group, orFull(err))
	}
	outcome := domain.RecallOutcome{Partition: p, Gen: gen}
	switch answer[0] {
	case "OK":
		if kept, err := s.keepRecall(o, gen, answer[1:]); err != nil {
			return domain.RecallOutcome{}, err
		} else if !kept {
			outcome.Missing = domain.MissingGeneration
		}
		return outcome, nil
	case "STALE":
		outcome.Missing = domain.MissingGeneration
	case "LOAD":
		outcome.Missing = domain.MissingGroup
	case "RESEED":
		outcome.Missing = domain.MissingSeed
	case "UNKNOWN":
		outcome.Missing = domain.MissingMessage
	default:
		return domain.RecallOutcome{}, recallRefusal(answer[0])
	}
	return outcome, nil
}

func recallArguments(gen int64, identity, channel string, o domain.RecallOrder) []any {
	kind, by := "u", o.Actor.User
	if o.Actor.IsServer() {
		kind, by = "s", o.Actor.Key
	}
	args := []any{gen, identity, channel, o.Group, o.Seq, o.Actor.User, kind, by, domain.RecallWindow.Milliseconds()}
	if o.Stored == nil {
		return append(args, "", 0, 0, "", recallRights())
	}
	recalledMS, recalledBy := o.Stored.Recalled()
	return append(args, o.Stored.From(), o.Stored.TimeMS, recalledMS, recalledBy, recallRights())
}

// recallRights is what the permission table says of recalls, for the script, which alone sees the roles at the moment of the
// recall.
var recallRights = sync.OnceValue(func() string {
	roles := []domain.Role{domain.Owner, domain.Admin, domain.Member, domain.Outsider, domain.BlockedIn}
	asking := map[string]domain.Actor{"server": {Key: domain.SystemUser}}
	for _, role := range roles {
		asking[string(role)] = domain.Actor{User: domain.SystemUser}
	}
	rights := " "
	for _, typ := range []domain.GroupType{domain.Room, domain.Private, domain.Direct} {
		for who, actor := range asking {
			if domain.Allow(actor, domain.RecallAny, typ, domain.JoinOpen, domain.Role(who)) != nil {
				continue
			}
			rights += string(typ) + "/" + who + " "
			for _, sender := range roles {
				if domain.AllowOver(actor, domain.RecallAny, domain.Role(who), sender) == nil {
					rights += string(typ) + "/" + who + "/" + string(sender) + " "
				}
			}
		}
	}
	return rights
})

func recallRefusal(word string) error {
	switch word {
	case "NOT_FOUND":
		return domain.Errorf(domain.CodeNotFound, "there is no message with this seq")
	case "LATE":
		return domain.Errorf(domain.CodeForbidden, "it is too late to recall this message")
	case "FORBIDDEN":
		return domain.Errorf(domain.CodeForbidden, "your role does not allow this")
	case "FULL":
		return domain.Full(nil)
	}
	if err := refusal(word); err != nil {
		return err
	}
	return fmt.Errorf("recall script answered %q", word)
}

// keepRecall reports false when the generation is over: the answer is not believed.
func (s *Store) keepRecall(o domain.RecallOrder, gen int64, answer []string) (kept bool, err error) {
	if len(answer) != 5 {
		return false, fmt.Errorf("recall script answered %d words", len(answer))
	}
	r := domain.Recall{Group: o.Group, Seq: o.Seq, Gen: gen, By: answer[1]}
	if r.TimeMS, err = strconv.ParseInt(answer[0], 10, 64); err != nil {
		return false, fmt.Errorf("time of a recall: %w", err)
	}
	persisted, err := strconv.ParseInt(answer[2], 10, 64)
	if err != nil {
		return false, fmt.Errorf("watermark: %w", err)
	}
	if tail := answer[3]; tail != "" {
		record, err := domain.RecordFromTail(o.Group, o.Seq, []byte(tail))
		if err != nil {
			return false, err
		}
		record.Hash = answer[4]
		if !s.journal.KeepRecord(gen, persisted, record) {
			return false, nil
		}
	}
	return s.journal.KeepRecall(r), nil
}

// Recalled are the recalls in each group that rows in MySQL may not show yet, and those of recent messages. As with Recent, a
// Redis that is in another generation is not believed.
func (s *Store) Recalled(ctx context.Context, groups []string) ([][]domain.Recall, error) {
	for try := 1; ; try++ {
		pipe, reads := s.rdb.Pipeline(), s.newRecallReads()
		for _, group := range groups {
			reads.read(ctx, pipe, group)
		}
		lists, over, err := reads.exec(ctx, pipe)
		if err != nil {
			return nil, err
		}
		if over == nil {
			return lists, nil
		}
		if err := s.renewed(ctx, over.Partition, over.Gen, try); err != nil {
			return nil, err
		}
	}
}

// recallReads reads the recalls of groups in a pipeline with other reads, and whether all that is believed.
type recallReads struct {
	store  *Store
	groups []string
	of     []domain.LogRange
	hashes []*redis.MapStringStringCmd
}

func (s *Store) newRecallReads() *recallReads { return &recallReads{store: s} }

// read stands before what else is read of the group.
func (r *recallReads) read(ctx context.Context, pipe redis.Pipeliner, group string) domain.LogRange {
	p, gen := r.store.of(group)
	r.groups = append(r.groups, group)
	r.of = append(r.of, domain.LogRange{Partition: p, Gen: gen})
	r.hashes = append(r.hashes, pipe.HGetAll(ctx, recalledKey(p, gen, group)))
	return r.of[len(r.of)-1]
}

// exec sends the pipeline. over is a partition that is in another generation, or whose generation is closed here: then
// recalls may have been acknowledged in the next one.
func (r *recallReads) exec(ctx context.Context, pipe redis.Pipeliner) (lists [][]domain.Recall, over *domain.LogRange, err error) {
	vouch, standing := r.store.newVouch(), make(map[int]*generationCheck)
	for _, of := range r.of {
		if standing[of.Partition] == nil { // behind all reads of the partition, as with heads
			standing[of.Partition] = vouch.check(ctx, pipe, of.Partition)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, fmt.Errorf("read recalls and recent messages of %d groups: %w", len(r.groups), err)
	}
	lists = make([][]domain.Recall, len(r.groups))
	for i, group := range r.groups {
		of := r.of[i]
		if !standing[of.Partition].is(of.Gen) || r.store.journal.Over(group, of.Gen) {
			return nil, &of, nil
		}
		if lists[i], err = recallsOf(group, r.hashes[i].Val()); err != nil {
			return nil, nil, err
		}
		for j := range lists[i] {
			lists[i][j].Gen = of.Gen
		}
	}
	return lists, nil, nil
}

// recallsOf reads the hash 'recalled': seq → '<time> <by>'.
func recallsOf(group string, fields map[string]string) ([]domain.Recall, error) {
	var list []domain.Recall
	for field, value := range fields {
		ms, by, _ := strings.Cut(value, " ")
		r := domain.Recall{Group: group, By: by}
		var err error
		if r.Seq, err = strconv.ParseInt(field, 10, 64); err == nil {
			r.TimeMS, err = strconv.ParseInt(ms, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("recall of %s/%s: %w", group, field, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// RecallsWritten tells which recalls of one partition's generation MySQL has; none of a generation that this server is not
// in.
func (s *Store) RecallsWritten(ctx context.Context, log domain.LogRange, recalls []domain.Recall) (written []domain.Recall, err error) {
	for len(recalls) > 0 {
		some := recalls[:min(len(recalls), reachedCall)]
		fields := make([]string, len(some))
		for i, r := range some {
			fields[i] = r.Group + "|" + strconv.FormatInt(r.Seq, 10)
		}
		answer, err := s.reached(ctx, log, recallingKey(log.Partition, log.Gen), nil, fields)
		if err != nil {
			return nil, fmt.Errorf("recalls of partition %d: %w", log.Partition, err)
		}
		if len(answer) != len(some) { // STALE
			return nil, nil
		}
		for i, r := range some {
			if answer[i] == "0" {
				written = append(written, r)
			}
		}
		recalls = recalls[len(some):]
	}
	return written, nil
}
