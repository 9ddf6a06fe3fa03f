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
	if len(answer) != 4 {
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
		if !s.journal.KeepRecord(gen, persisted, record) {
			return false, nil
		}
	}
	return s.journal.KeepRecall(r), nil
}

// Recalled are the recalls in each group that rows in MySQL may not show yet, and those of recent messages.
func (s *Store) Recalled(ctx context.Context, groups []string) ([][]domain.Recall, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(groups))
	for i, group := range groups {
		p, gen := s.of(group)
		cmds[i] = pipe.HGetAll(ctx, recalledKey(p, gen, group))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("recalls in %d groups: %w", len(groups), err)
	}
	lists := make([][]domain.Recall, len(groups))
	for i, group := range groups {
		var err error
		if lists[i], err = recallsOf(group, cmds[i].Val()); err != nil {
			return nil, err
		}
	}
	return lists, nil
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
