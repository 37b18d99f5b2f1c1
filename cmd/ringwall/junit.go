package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"

	"ringwall/daemon/enforce"
	"ringwall/rules/check"
	"ringwall/rules/diag"
)

// junitSuite is one policy in JUnit's XML, as CI servers read it: a case for the policy itself, and one a test.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

// junitCase is one test, or the policy itself.
type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitProblem `xml:"failure"` // a test that does not hold
	Error   *junitProblem `xml:"error"`   // a policy that has errors, or a test that says nothing
	Out     string        `xml:"system-out,omitempty"`
}

// junitProblem is why a case is not good.
type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// newJUnitSuite is what was found about a policy.
func newJUnitSuite(name string, c *enforce.Candidate) junitSuite {
	s := junitSuite{Name: name}
	s.add(policyCase(name, c))
	for _, r := range c.Tests {
		s.add(testCase(name, c, r))
	}
	return s
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Error != nil {
		s.Errors++
	}
	s.Cases = append(s.Cases, c)
}

// policyCase is the policy itself: its errors, and its warnings as output.
func policyCase(name string, c *enforce.Candidate) junitCase {
	out := junitCase{Name: "policy", Class: name, File: c.Entry}
	var errs, warnings diag.List
	for _, d := range c.Diags {
		switch {
		case isTestCode(d.Code): // has a case of its own
		case d.Severity == diag.Error:
			errs = append(errs, d)
		default:
			warnings = append(warnings, d)
		}
	}
	if len(errs) > 0 {
		out.Error = &junitProblem{Message: errs.Summary(), Type: errs[0].Code, Text: diagLines(errs)}
	}
	out.Out = diagLines(warnings)
	return out
}

func isTestCode(code string) bool {
	switch code {
	case check.TestFailed, check.TestClock, check.TestEmpty, check.TestUndecided:
		return true
	}
	return false
}

// diagLines is findings, a line each.
func diagLines(list diag.List) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintln(&b, d.String())
	}
	return b.String()
}

// testCase is one test.
func testCase(name string, c *enforce.Candidate, r check.Result) junitCase {
	out := junitCase{Name: r.Test.Text, Class: name, File: r.Test.At.File, Line: r.Test.At.Line}
	if r.OK {
		return out
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n", r.Test.At.Short(), r.Message)
	if r.Counterexample != nil {
		if !r.Decision.At.IsZero() {
			fmt.Fprintf(&text, "%s: this decides: %s\n", r.Decision.At.Short(), r.Decision.By)
		}
		fmt.Fprintf(&text, "ringwall explain %s\n", c.Policy.Words(r.Counterexample))
	}
	problem := &junitProblem{Message: r.Message, Type: r.Code, Text: text.String()}
	if r.Code == check.TestFailed {
		out.Failure = problem
	} else {
		out.Error = problem
	}
	return out
}

// writeJUnit writes a report on all policies.
func writeJUnit(file string, suites []junitSuite) error {
	report := struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []junitSuite
	}{Name: "ringwall", Suites: suites}
	for _, s := range suites {
		report.Tests += s.Tests
		report.Failures += s.Failures
		report.Errors += s.Errors
	}
	text, err := xml.MarshalIndent(report, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append([]byte(xml.Header), append(text, '\n')...), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report for CI: %w", err)
	}
	return nil
}
