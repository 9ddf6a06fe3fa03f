package configs

import (
	"cmp"
	"slices"
	"strings"
)

// Load reads the configuration: defaults, then the file (path "" = none), then the HEARTH_… variables of
// environ (as os.Environ gives it). All mistakes come back at once, as Mistakes. The warnings, one line each,
// name HEARTH_… variables that mean nothing (HEARTH_TEST_… ones are left alone).
func Load(path string, environ []string) (Config, []string, error) {
	l := load(path, environ)
	return l.result()
}

// LoadServe is Load and CheckServe in one: the mistakes of both, with their places in the file.
func LoadServe(path string, environ []string) (Config, []string, error) {
	l := load(path, environ)
	l.keep(l.config.forServe())
	return l.result()
}

// loader gathers a configuration and what is wrong with it.
type loader struct {
	config   Config
	file     *file
	env      map[string]string // key → variable that set it
	warnings []string
	mistakes Mistakes
}

func load(path string, environ []string) *loader {
	l := &loader{config: Default(), env: make(map[string]string)}
	if path != "" {
		l.file = readFile(path, &l.config)
		l.mistakes = append(l.mistakes, l.file.mistakes...)
	}
	l.readEnviron(environ)
	l.keep(l.config.breaches())
	return l
}

// keep records the rules that are broken. Of a file that could not be read nobody knows what it would have said.
func (l *loader) keep(broken []breach) {
	if l.file != nil && l.file.unread {
		return
	}
	for _, b := range broken {
		l.breaks(b)
	}
}

// breaks records one, unless the key is known to be wrong already: then its value is still an older one.
func (l *loader) breaks(b breach) {
	if slices.ContainsFunc(l.mistakes, func(m Mistake) bool { return keyOf(m.Key) == keyOf(b.key) }) {
		return
	}
	m := Mistake{Key: b.key, Message: b.message}
	switch name, ok := l.env[keyOf(b.key)]; {
	case ok:
		m.Env = name
	case l.file != nil:
		m = l.file.place(m)
	}
	l.mistakes = append(l.mistakes, m)
}

// keyOf cuts the index off: redis.addrs[0] is an item of redis.addrs.
func keyOf(path string) string {
	key, _, _ := strings.Cut(path, "[")
	return key
}

func (l *loader) result() (Config, []string, error) {
	slices.SortStableFunc(l.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	if err := l.mistakes.orNil(); err != nil {
		return Config{}, l.warnings, err
	}
	return l.config, l.warnings, nil
}
