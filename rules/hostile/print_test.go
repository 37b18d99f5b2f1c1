package hostile_test

import "unicode"

// unfit tells whether a terminal would act on a character, or not show it.
func unfit(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
