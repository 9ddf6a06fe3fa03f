package configs

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// EnvVar is a variable that sets a key.
type EnvVar struct {
	Name    string // HEARTH_HTTP_ADDR
	Key     string // http.addr
	Default string // as the variable would say it; "" for none
	Doc     string // one paragraph
}

// EnvNames lists the variables of all keys, in the order of the file.
func EnvNames() []EnvVar {
	defaults := Default()
	var list []EnvVar
	for _, k := range keys() {
		v := EnvVar{Name: k.env, Key: k.path, Doc: k.doc}
		switch value := k.of(&defaults).Interface().(type) {
		case []string:
			v.Default = strings.Join(value, ",")
		default:
			v.Default = fmt.Sprint(value)
		}
		list = append(list, v)
	}
	return list
}

// readEnviron sets the keys that have a variable. A variable that is set but empty empties texts and lists
// (so that HEARTH_HTTP_INTERNAL_ADDR= can be said) and is a mistake for the others.
func (l *loader) readEnviron(environ []string) {
	vars := hearthVars(environ)
	for _, k := range keys() {
		value, ok := vars[k.env]
		if !ok {
			continue
		}
		delete(vars, k.env)
		l.env[k.path] = k.env
		if err := setFromEnv(&l.config, k, value); err != nil {
			l.mistakes = append(l.mistakes, Mistake{Key: k.path, Env: k.env, Message: err.Error()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		l.warnings = append(l.warnings, name+" is not a variable of hearth (`hearth config env` lists them)")
	}
}

// ofClients are variables of the commands that talk to a server: no keys, and no mistakes.
var ofClients = []string{"HEARTH_URL", "HEARTH_TOKEN", "HEARTH_API_KEY", "HEARTH_CONSOLE_URL", "HEARTH_CONSOLE_KEY"}

// hearthVars picks the HEARTH_… variables; of repeated ones the last counts, as in a shell.
func hearthVars(environ []string) map[string]string {
	vars := make(map[string]string)
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, envPrefix+"TEST_") && !slices.Contains(ofClients, name) {
			vars[name] = value
		}
	}
	return vars
}

// setFromEnv hands one variable to the env package: alone, so that an error is known to be its own.
func setFromEnv(c *Config, k key, value string) error {
	field := k.of(c)
	if value == "" { // the env package takes it for not set
		if field.Kind() != reflect.String && field.Kind() != reflect.Slice {
			return errors.New("is set but empty: unset it, or give it a value")
		}
		field.SetZero()
		return nil
	}
	err := env.ParseWithOptions(c, env.Options{
		// The tag of the file serves both: http.addr is looked up as http_addr.
		TagName:     "yaml",
		Environment: map[string]string{strings.ReplaceAll(k.path, ".", "_"): value},
	})
	var parse env.ParseError
	switch {
	case err == nil:
		return nil
	case field.Type() == reflect.TypeFor[Duration]() && errors.As(err, &parse):
		return parse.Err // says it better
	default:
		return fmt.Errorf("must be %s", kindName(field.Type()))
	}
}

// kindName says what a value of type t looks like.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		if t == reflect.TypeFor[Duration]() {
			return "a duration such as 250ms, 10s or 5m"
		}
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list of texts"
	default:
		return "a text"
	}
}
