package domain

import "fmt"

// AuditedHeat is a partition's ranking, read in one step.
type AuditedHeat struct {
	NowMS    int64
	Whole    bool // false while who spoke is brought back from MySQL
	Heat     map[string]int
	Speakers map[GroupUser]int64 // time of each one's last message that counted
}

// Spoke is when somebody spoke in a group.
type Spoke struct {
	LastMS   int64
	BeforeMS int64 // the last time before the heat was read; 0: not since the window began
}

// Merge takes a message's time in.
func (s Spoke) Merge(ms, readMS int64) Spoke {
	s.LastMS = max(s.LastMS, ms)
	if ms < readMS {
		s.BeforeMS = max(s.BeforeMS, ms)
	}
	return s
}

// AuditHeat compares the ranking with who counts in it, and those with who spoke. Who spoke is learned after the ranking
// was read.
func AuditHeat(h AuditedHeat, spoke map[GroupUser]Spoke, windowMS int64) (findings []Finding) {
	counts, silent, unheard := make(map[string]int), make(map[string]int), make(map[string]int)
	groups := make(map[string]bool)
	for who, ms := range h.Speakers {
		groups[who.Group] = true
		counts[who.Group]++
		if ms > h.NowMS-windowMS && spoke[who].LastMS < ms {
			silent[who.Group]++
		}
	}
	for group := range h.Heat {
		groups[group] = true
	}
	for who, at := range spoke {
		groups[who.Group] = true
		if _, counted := h.Speakers[who]; !counted && at.BeforeMS > h.NowMS-windowMS {
			unheard[who.Group]++
		}
	}
	for group := range ordered(groups) {
		found := func(key, format string, args ...any) {
			findings = append(findings, Finding{Group: group, Check: CheckHeat, What: fmt.Sprintf(format, args...), key: key})
		}
		if h.Heat[group] != counts[group] {
			found("count", "it is %d, %d people count", h.Heat[group], counts[group])
		}
		if h.Whole && (silent[group] > 0 || unheard[group] > 0) {
			found("people", "%d people count; %d of them did not speak, %d others did", counts[group], silent[group], unheard[group])
		}
	}
	return findings
}
