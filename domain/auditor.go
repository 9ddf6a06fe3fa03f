package domain

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// AuditCache is the Redis side of an audit. gens are the generations of all partitions.
type AuditCache interface {
	// ObserveAll tells what Redis says of every partition.
	ObserveAll(ctx context.Context) ([]Observed, error)
	// AuditGroups reads everything but Later, in the order that AuditedCache asks for.
	AuditGroups(ctx context.Context, gens []int64, groups []string) (map[string]*AuditedCache, error)
	// AuditSeqs reads the seqs; 0 for groups that are not seeded.
	AuditSeqs(ctx context.Context, gens []int64, groups []string) (map[string]int64, error)
	// AuditHeat reads a partition's ranking in one step.
	AuditHeat(ctx context.Context, partition int) (AuditedHeat, error)
	// EachLogged goes through the messages in a partition's log; they have no body.
	EachLogged(ctx context.Context, log LogRange, found func(m *Message)) error
	// EachSeeded goes through the groups that a partition's generation knows, some at a time.
	EachSeeded(ctx context.Context, log LogRange, found func(groups []string) error) error
	// SetAsideLogs has the number of messages of each log that came too late to be stored, by key.
	SetAsideLogs(ctx context.Context) (map[string]int64, error)
	Backlog(ctx context.Context, logs []LogRange) (int64, error)
}

// AuditStore is the MySQL side of an audit.
type AuditStore interface {
	AllGenerations(ctx context.Context) (map[int]Generation, error)
	// AuditPage lists the next groups by id, dismissed ones too: at most limit of them and, unless it is one, with no
	// more than maxMembers members.
	AuditPage(ctx context.Context, after string, limit, maxMembers int) ([]string, error)
	// Audit reads groups as they are at one moment: begin is called for each, and what it returns with the group's
	// messages by seq. Groups that there are not are left out.
	Audit(ctx context.Context, groups []string, begin func(AuditedRows) (row func(*Message))) error
	// Spoke tells who counts in the ranking by messages since a time; group "" is all. Who wrote a message that was refused
	// may count, but need not.
	Spoke(ctx context.Context, group string, sinceMS, readMS int64) (map[GroupUser]Spoke, error)
	// KnownGroups are those of the groups that there are, and whether they were dismissed.
	KnownGroups(ctx context.Context, groups []string) (map[string]bool, error)
	// CountDeadLetters is the number of messages that MySQL refused.
	CountDeadLetters(ctx context.Context) (int64, error)
}

// Audit is what an audit has seen.
type Audit struct {
	Groups   int       `json:"groups"`
	Messages int       `json:"messages"`
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"` // worth knowing, and not wrong
}

const (
	auditPage    = 50     // groups
	auditMembers = 20_000 // of a page's groups
	auditLooks   = 3      // what looks wrong is looked at again
	auditPause   = 300 * time.Millisecond
	// settleLooks is how often generations are looked at again: an instance that hangs holds them up for 5 s.
	settleLooks = 25
)

// Auditor compares Redis with MySQL while instances serve from both.
type Auditor struct {
	cache      AuditCache
	store      AuditStore
	partitions Partitions
	window     time.Duration
}

// NewAuditor makes an auditor; window is heat.window, or what is left of it in MySQL.
func NewAuditor(cache AuditCache, store AuditStore, partitions Partitions, window time.Duration) *Auditor {
	return &Auditor{cache: cache, store: store, partitions: partitions, window: window}
}

// Run audits one group, or all of them and the partitions. An error means that it could not.
func (a *Auditor) Run(ctx context.Context, group string) (*Audit, error) {
	result := &Audit{Findings: []Finding{}, Notes: []string{}}
	gens, wrong, err := a.generations(ctx)
	if err != nil {
		return nil, err
	}
	result.Findings = append(result.Findings, wrong...)
	if group != "" {
		if err := a.one(ctx, gens, group, result); err != nil {
			return nil, err
		}
	} else if err := a.all(ctx, gens, result); err != nil {
		return nil, err
	}
	return result, a.note(ctx, gens, result)
}

func (a *Auditor) one(ctx context.Context, gens []int64, group string, result *Audit) error {
	known, err := a.store.KnownGroups(ctx, []string{group})
	if err != nil {
		return err
	}
	if _, ok := known[group]; !ok {
		return fmt.Errorf("there is no %s", group)
	}
	if err := a.page(ctx, gens, []string{group}, result); err != nil {
		return err
	}
	return a.again(ctx, gens, result, func(gens []int64) ([]Finding, error) { return a.heat(ctx, gens, group) })
}

func (a *Auditor) all(ctx context.Context, gens []int64, result *Audit) error {
	for after := ""; ; {
		groups, err := a.store.AuditPage(ctx, after, auditPage, auditMembers)
		if err != nil {
			return err
		}
		if len(groups) == 0 {
			break
		}
		if err := a.page(ctx, gens, groups, result); err != nil {
			return err
		}
		after = groups[len(groups)-1]
	}
	err := a.again(ctx, gens, result, func(gens []int64) ([]Finding, error) { return a.unknown(ctx, gens) })
	if err != nil {
		return err
	}
	return a.again(ctx, gens, result, func(gens []int64) ([]Finding, error) { return a.heat(ctx, gens, "") })
}

// generations waits for Redis and MySQL to agree. Where they do not the generation is 0, and nothing can be compared.
func (a *Auditor) generations(ctx context.Context) (gens []int64, wrong []Finding, err error) {
	for look := 1; ; look++ {
		observed, err := a.cache.ObserveAll(ctx)
		if err != nil {
			return nil, nil, err
		}
		rows, err := a.store.AllGenerations(ctx)
		if err != nil {
			return nil, nil, err
		}
		gens, wrong = make([]int64, a.partitions), nil
		for p := range gens {
			if found := AuditGeneration(p, rows[p], observed[p]); len(found) > 0 {
				wrong = append(wrong, found...)
			} else {
				gens[p] = rows[p].Gen
			}
		}
		if len(wrong) == 0 || look == settleLooks {
			return gens, wrong, nil
		}
		if !pause(ctx, auditPause) {
			return nil, nil, ctx.Err()
		}
	}
}

// again adds to the result what looks wrong, and goes on looking so. Nothing is compared in a generation that is over.
func (a *Auditor) again(ctx context.Context, gens []int64, result *Audit, look func(gens []int64) ([]Finding, error)) error {
	findings, err := look(gens)
	for n := 1; err == nil && len(findings) > 0 && n < auditLooks; n++ {
		if !pause(ctx, auditPause) {
			return ctx.Err()
		}
		if gens, err = a.renewed(ctx, gens); err != nil {
			return err
		}
		var still []Finding
		if still, err = look(gens); err != nil {
			return err
		}
		findings = slices.DeleteFunc(still, func(f Finding) bool { return !slices.ContainsFunc(findings, f.same) })
	}
	result.Findings = append(result.Findings, findings...)
	return err
}

// renewed is gens unless some of them have moved on. A partition that was not to be compared stays so.
func (a *Auditor) renewed(ctx context.Context, gens []int64) ([]int64, error) {
	observed, err := a.cache.ObserveAll(ctx)
	if err != nil {
		return nil, err
	}
	for p, o := range observed {
		if gens[p] != 0 && o.Gen != gens[p] {
			now, _, err := a.generations(ctx)
			if err != nil {
				return nil, err
			}
			for p := range now {
				if gens[p] == 0 {
					now[p] = 0
				}
			}
			return now, nil
		}
	}
	return gens, nil
}

// page audits some groups. Only those that look wrong are looked at again.
func (a *Auditor) page(ctx context.Context, gens []int64, groups []string, result *Audit) error {
	looks, suspects := 0, groups
	return a.again(ctx, gens, result, func(gens []int64) ([]Finding, error) {
		findings, messages, err := a.look(ctx, gens, suspects)
		if looks++; looks == 1 {
			result.Groups += len(groups)
			result.Messages += messages
		}
		wrong := make(map[string]bool)
		for _, f := range findings {
			wrong[f.Group] = true
		}
		suspects = slices.Sorted(maps.Keys(wrong))
		return findings, err
	})
}

// look reads Redis, then MySQL, then how far Redis has come meanwhile.
func (a *Auditor) look(ctx context.Context, gens []int64, groups []string) (findings []Finding, messages int, err error) {
	compared := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return gens[a.partitions.Of(g)] == 0 })
	caches, err := a.cache.AuditGroups(ctx, gens, compared)
	if err != nil {
		return nil, 0, err
	}
	var audits []*GroupAudit
	err = a.store.Audit(ctx, groups, func(rows AuditedRows) func(*Message) {
		audit := NewGroupAudit(rows, caches[rows.ID])
		audits = append(audits, audit)
		return audit.Row
	})
	if err != nil {
		return nil, 0, err
	}
	later, err := a.cache.AuditSeqs(ctx, gens, compared)
	if err != nil {
		return nil, 0, err
	}
	for group, cache := range caches {
		cache.Later = later[group]
	}
	for _, audit := range audits {
		findings = append(findings, audit.End()...)
		messages += audit.Messages
	}
	return findings, messages, nil
}

// logs are those that can be compared.
func (a *Auditor) logs(gens []int64) (logs []LogRange) {
	for p, gen := range gens {
		if gen > 0 {
			logs = append(logs, LogRange{Partition: p, Gen: gen})
		}
	}
	return logs
}

// unknown finds groups that Redis gives seqs to although MySQL does not know them.
func (a *Auditor) unknown(ctx context.Context, gens []int64) (findings []Finding, err error) {
	for _, log := range a.logs(gens) {
		err := a.cache.EachSeeded(ctx, log, func(groups []string) error {
			known, err := a.store.KnownGroups(ctx, groups)
			for _, group := range groups {
				if _, ok := known[group]; !ok && err == nil {
					findings = append(findings, Finding{Group: group, Check: CheckSeqs, What: "MySQL does not know this group", key: "unknown"})
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return findings, nil
}

// heat compares the rankings; group "" is all.
func (a *Auditor) heat(ctx context.Context, gens []int64, group string) (findings []Finding, err error) {
	logs := a.logs(gens)
	if group != "" {
		logs = slices.DeleteFunc(logs, func(l LogRange) bool { return l.Partition != a.partitions.Of(group) })
	}
	if len(logs) == 0 {
		return nil, nil
	}
	heats := make(map[int]AuditedHeat, len(logs))
	var readMS int64
	for _, log := range logs {
		h, err := a.cache.AuditHeat(ctx, log.Partition)
		if err != nil {
			return nil, err
		}
		heats[log.Partition] = h
		if readMS == 0 || h.NowMS < readMS {
			readMS = h.NowMS
		}
	}
	spoke, err := a.spoke(ctx, logs, group, readMS)
	if err != nil {
		return nil, err
	}
	for p, h := range heats {
		findings = append(findings, AuditHeat(h, spoke[p], a.window.Milliseconds())...)
	}
	return a.counted(ctx, findings, group)
}

// spoke is who spoke in each partition: logs first, because what is in them no more is a row by then.
func (a *Auditor) spoke(ctx context.Context, logs []LogRange, group string, readMS int64) (map[int]map[GroupUser]Spoke, error) {
	since := readMS - a.window.Milliseconds()
	spoke := make(map[int]map[GroupUser]Spoke)
	for _, log := range logs {
		here := make(map[GroupUser]Spoke)
		spoke[log.Partition] = here
		err := a.cache.EachLogged(ctx, log, func(m *Message) {
			who := GroupUser{m.Group, m.From}
			if m.GroupType != Direct && m.From != SystemUser && m.TimeMS > since && (group == "" || group == m.Group) {
				here[who] = here[who].Merge(m.TimeMS, readMS)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	stored, err := a.store.Spoke(ctx, group, since, readMS)
	for who, s := range stored {
		if here := spoke[a.partitions.Of(who.Group)]; here != nil {
			merged := here[who].Merge(s.LastMS, readMS)
			merged.BeforeMS = max(merged.BeforeMS, s.BeforeMS)
			here[who] = merged
		}
	}
	return spoke, err
}

// counted leaves out what was found of other groups, and of those that there are not or that were dismissed: no ranking
// shows them.
func (a *Auditor) counted(ctx context.Context, findings []Finding, group string) ([]Finding, error) {
	var groups []string
	for _, f := range findings {
		groups = append(groups, f.Group)
	}
	known, err := a.store.KnownGroups(ctx, groups)
	return slices.DeleteFunc(findings, func(f Finding) bool {
		dismissed, there := known[f.Group]
		return !there || dismissed || group != "" && f.Group != group
	}), err
}

// note adds what an operator should know of.
func (a *Auditor) note(ctx context.Context, gens []int64, result *Audit) error {
	late, err := a.cache.SetAsideLogs(ctx)
	if err != nil {
		return err
	}
	for key, n := range ordered(late) {
		result.Notes = append(result.Notes, fmt.Sprintf("%s: %d messages that came too late to be stored", key, n))
	}
	backlog, err := a.cache.Backlog(ctx, a.logs(gens))
	if err != nil {
		return err
	}
	if backlog > 0 {
		result.Notes = append(result.Notes, fmt.Sprintf("%d messages wait for MySQL", backlog))
	}
	dead, err := a.store.CountDeadLetters(ctx)
	if dead > 0 {
		result.Notes = append(result.Notes, fmt.Sprintf("%d dead letters", dead))
	}
	return err
}
