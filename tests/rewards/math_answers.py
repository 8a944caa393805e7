r"""Answers and their verdicts, by kind: reference, answers that are right, answers that are wrong.

`unparsable` answers are those in which nothing is found to compare.
"""

from tests.rewards.math_units import UNITS_AND_LETTERS

RIGHT_AND_WRONG: dict[str, list[tuple[str, list[str], list[str]]]] = {
    **UNITS_AND_LETTERS,
    "whole numbers": [
        (
            "5",
            ["5", "5.", "5.0", "+5", "$5$", r"\(5\)", r"\[5\]", "**5**", "The answer is 5.", "10/2", "x = 5", "5 = x"],
            ["-5", "50", "0.5"],
        ),
        ("-5", ["-5", "\u22125", "\u20135", "\uff0d5", r"\boxed{-5}", "$-5$", "- 5", "2 - 7 = -5"], ["5", r"\boxed{5}"]),
        (
            "8",
            [r"first \boxed{3}, no: \boxed{8}", "3 + 5 = 8", "#### 8", "Answer: 8", "x = 3 + 5 = 8"],
            ["first 8, then 9", r"8, so \boxed{7}"],
        ),
        ("7", ["007"], ["0.7", "3, 5, 7"]),
    ],
    "boxes": [
        (
            "5",
            [
                r"\boxed{5.}",
                r"\fbox{5}",
                r"\boxed{ 5 }",
                r"\boxed{\mathbf{5}}",
                r"\boxed{\text{5}}",
                r"$\boxed{5}$.",
                r"\boxed {5}",
                r"\boxed{{5}}",
                r"\boxed{x=5}",
            ],
            [r"\boxed{6}", r"\fbox{\boxed{6}}"],
        ),
        (r"\boxed{5.}", ["5", r"\boxed{5}"], ["6"]),
        (r"\fbox{1/2}", ["0.5", r"\boxed{\dfrac{1}{2}}"], ["2"]),
        (r"We find $x=2$ and so $\boxed{\frac{3}{4}}$.", ["3/4", "0.75"], ["2", "3", "4"]),
    ],
    "percentages": [
        (
            "50",
            [r"\boxed{50\%}", "50%", "50 percent", r"$50\%$", r"\boxed{50}\%", r"\boxed{50} percent"],
            [r"\boxed{5\%}", "0.5"],
        ),
        (r"10\%", ["10%", "0.1", "10", r"\frac{1}{10}", "10.0 %"], ["1%", "0.01", "1000"]),
        ("0.5", ["50%", r"50\%"], ["0.5%", "5%"]),
        ("12.5%", ["12.5", "0.125", "1/8"], ["12", "1.25"]),
    ],
    "thousands marks": [
        (
            "1000",
            [
                "1,000",
                "1 000",
                r"1\,000",
                r"\boxed{1\,000}",
                "1{,}000",
                r"1\!000",
                "1e3",
                "10^3",
                "$1,000",
                r"\$1{,}000",
                "1\u202f000",
            ],
            ["1.000", "1,00", "1"],
        ),
        ("1,234,567", ["1234567", "1 234 567", r"1{,}234{,}567"], ["1,234", "567", "1, 234, 567"]),
        ("1,000.5", ["1000.5", "2001/2"], ["1000", "10005"]),
    ],
    "lists": [
        (
            "3, 5, 7",
            [
                "3, 5, 7",
                "7, 3, 5",
                "3,5,7",
                r"\boxed{3, 5, 7}",
                r"\{3,5,7\}",
                "3, 5 and 7",
                "3, 5, and 7",
                "The answers are 3, 5 and 7.",
                r"$3$, $5$ and $7$",
                r"\boxed{3}, \boxed{5} and \boxed{7}",
                "(3, 5, 7)",
            ],
            ["7", "3", "3, 5", "3, 5, 8", "3, 5, 7, 9", "357", "(7, 5, 3)"],
        ),
        ("1,2", ["1,2", "2,1", "1, 2", r"\boxed{1,2}", "1;2"], ["1.2", "12", "1", "2"]),
        ("-2,1", ["-2,1", "1,-2", "1, -2", r"\boxed{-2,1}", r"x=-2 \text{ or } x=1"], ["1", "-2", "2,1", "-2.1"]),
        ("1/2, 3", ["0.5, 3", r"3, \frac12"], ["1/2", "1, 2, 3"]),
        (r"1 \pm \sqrt{2}", [r"1+\sqrt{2}, 1-\sqrt{2}", r"$1\pm\sqrt2$"], [r"1+\sqrt{2}", r"2\pm\sqrt{2}"]),
        ("x=3, y=4", ["y = 4, x = 3", r"\boxed{x=3, y=4}"], ["x=4, y=3", "x=3"]),
    ],
    "tuples, sets and intervals": [
        (
            "(1,2)",
            ["(1, 2)", "1, 2", r"\boxed{(1,2)}", r"$\left(1,2\right)$", "(1.0, 4/2)"],
            ["(2,1)", "[1,2]", r"\{1,2\}", "2, 1", "(1,2,3)", "12"],
        ),
        ("[0,1)", ["[0, 1)", r"\boxed{[0,1)}", r"x \in [0,1)", r"0 \le x < 1"], ["(0,1)", "[0,1]", "0,1"]),
        (r"\{1,2\}", [r"\{2,1\}", "1, 2", r"\{1,2,2\}"], [r"\{1\}", "(1,2)", r"\{1,3\}"]),
        (r"(-\infty, 3]", [r"(-\infty,3]", "(-∞, 3]", r"x \le 3"], [r"(-\infty,3)", r"[3,\infty)"]),
        (r"[1,2] \cup [3,4]", [r"[3,4] \cup [1,2]", "[1,2] ∪ [3,4]"], ["[1,4]", r"[1,2] \cap [3,4]"]),
        ("(1,200)", ["(1, 200)"], ["1200"]),
    ],
    "fractions and mixed numbers": [
        (
            "1/2",
            ["0.5", r"\frac12", r"\dfrac{1}{2}", r"\tfrac12", r"\cfrac{1}{2}", "½", "2/4", "1÷2", ".5", "50%", r"\frac{1}{2}."],
            ["2", "1", "0.3333", "1/3", "1, 2"],
        ),
        (
            "3 1/2",
            ["3.5", "7/2", r"3\frac{1}{2}", r"3\dfrac12", "3½", r"\boxed{3 \frac{1}{2}}", r"\frac{7}{2}"],
            ["1/2", "31/2", "3", "2.5"],
        ),
        ("-3 1/2", ["-3.5", "-7/2"], ["-2.5", "3.5"]),
        ("1/3", ["0.333333", r"0.\overline{3}", "2/6", "0.3333333333"], ["0.33", "0.3333", "0.333334", "3"]),
        (r"\frac{\frac{1}{2}}{3}", ["1/6", r"\frac16"], ["3/2", "2/3"]),
    ],
    "powers, factorials and large numbers": [
        ("1e3", ["1000", "1,000", r"1\times10^3", "1E3", "1.0e3"], ["1", "3", "1e-3", "103"]),
        ("2.5e-3", ["0.0025", r"2.5\times 10^{-3}", "1/400"], ["2.5", "0.025"]),
        ("120", ["5!", "120", "2*3*4*5"], ["120!", "5", "12"]),
        (
            "1/2^99",
            ["1/2^99", "2^{-99}", r"\frac{1}{2^{99}}", r"\boxed{2^{-99}}", "(1/2)^99"],
            ["1/2^98", r"\frac{1}{2^{98}}", "0", "2^-98"],
        ),
        ("1/2004!", [r"\frac{1}{2004!}", "1/2004!"], ["1/2006!", r"\boxed{\frac{1}{2006!}}", "0"]),
        (
            r"\frac{\sqrt{2}}{2^{99}}",
            [r"\boxed{\frac{\sqrt{2}}{2^{99}}}", r"$2^{-99}\sqrt{2}$"],
            [r"\boxed{\frac{\sqrt{2}}{2^{98}}}", "0"],
        ),
        (r"\frac{x}{2^{99}}", [r"$x \cdot 2^{-99}$"], [r"$\frac{x}{2^{98}}$", "$0$"]),
        (
            "2^{100}",
            ["1267650600228229401496703205376", "2**100", "4^50"],
            ["1267650600228229401496703205377", "1.26765060022823e30"],
        ),
        (r"\binom{5}{2}", ["10", r"\dbinom52"], ["5", "52"]),
        ("10000000000000001", ["10000000000000001"], ["10000000000000000", "1e16"]),
    ],
    "units and money": [
        (
            r"5\text{ cm}",
            ["5 cm", "5", r"5\,\mathrm{cm}", "5 centimeters", r"\boxed{5\text{ cm}}", "The answer is 5 cm."],
            ["5 m", r"5\text{ km}", "6 cm"],
        ),
        (r"15\mbox{ cm}^2", [r"15\text{ cm}^2", "15", "15 square centimeters", "15 cm²"], ["15 cm", r"\boxed{14\text{ cm}^2}"]),
        ("$5", ["5", "5 dollars", r"\$5", r"\boxed{\$5}", "$5.00"], ["5 cents", "50"]),
        (r"90^\circ", ["90", "90°", "90 degrees", r"\boxed{90^{\circ}}"], ["9", "90%"]),
        ("72", ["72 clips", "She sold 72 clips.", r"\boxed{72\text{ clips}}"], ["27 clips"]),
    ],
    "irrational numbers and formulas": [
        (
            r"\sqrt{2}",
            [r"$\sqrt2$", "√2", "sqrt(2)", r"2^{1/2}", r"\frac{2}{\sqrt{2}}", "1.414214"],
            ["1.4142", "1.41", "2", "1.414213"],
        ),
        (r"2\pi", [r"$2\pi$", "2π", r"\boxed{2 \cdot \pi}"], ["6.28", r"\pi", "2"]),
        ("2x+1", [r"\boxed{1+2x}", "$2x+1$", "$y=2x+1$"], ["2", "1", "$x+1$"]),
        (r"\boxed{x^2+2x+1}", [r"\boxed{(x+1)^2}"], [r"\boxed{x^2+1}"]),
        (r"\boxed{2x - y + 1 = 0}", [r"\boxed{y = 2x+1}", r"\boxed{4x-2y+2=0}"], [r"\boxed{y=2x}", r"\boxed{1}"]),
        (
            r"\boxed{\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}}",
            [r"\boxed{\begin{bmatrix} 1 & 2 \\ 3 & 2^2 \end{bmatrix}}"],
            [r"\boxed{\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}}", "4"],
        ),
        ("x=7", ["7", "x = 7", r"\boxed{x=7}"], ["y=7", "2"]),
        (r"\infty", ["infinity", "∞"], [r"-\infty", "0"]),
        ("204_5", ["204_{5}", "204", r"\boxed{204_{\text{five}}}"], ["204_6", "54", "2045"]),
    ],
    "words": [
        (
            r"\text{Evelyn}",
            [r"\boxed{\text{Evelyn}}", r"\boxed{Evelyn}", r"\text{evelyn}", r"The answer is \text{Evelyn}."],
            [r"\boxed{\text{Carla}}", r"\boxed{3}"],
        ),
        (r"\boxed{Friday}", [r"\boxed{\text{Friday}}", r"\boxed{friday}"], [r"\boxed{Monday}"]),
        (r"\boxed{\text{(A)}}", [r"\boxed{A}", r"\boxed{(A)}", r"\text{A}"], [r"\boxed{B}"]),
    ],
    "exact beside rounded": [
        (
            "1/6",
            [
                r"\boxed{\frac{1}{6} \approx 0.1667}",
                r"\boxed{x = \frac16 \approx 0.17}",
                "1/6 ≈ 0.1667",
                r"The answer is $\frac16 \approx 0.1667$.",
                "so it is 1/6 ≈ 0.1667",
            ],
            [r"\boxed{0.1667}", r"\boxed{\frac17 \approx 0.1667}"],
        ),
        (
            "0.1667",
            [r"\boxed{\frac{1}{6} \approx 0.1667}"],
            [r"\boxed{\frac17 \approx 0.1667}", r"\boxed{\frac16 \approx 0.17}"],
        ),
        (r"\boxed{2\pi \approx 6.28}", [r"\boxed{2\pi}", "6.28"], ["6.283", r"\boxed{\pi}"]),
        ("78.5", [r"\boxed{\pi r^2 \approx 78.5}", r"$x \approx 78.5$"], [r"\boxed{25\pi}"]),
    ],
    "boxes without braces, and boxes twice": [
        (
            "18",
            [r"\boxed 18", r"\boxed18", r"so $\boxed18$.", r"\fbox 18", r"$\boxed 18\text{ cm}$"],
            [r"\boxed 19", r"\boxed 1 8x"],
        ),
        (r"\boxed 18", ["18", r"\boxed{18}"], ["1", "8"]),
        (r"$\boxed\frac{1}{2}$", ["0.5", r"\boxed{1/2}"], ["1", "2"]),
        (
            "7",
            ["\\boxed{7}\n\n\\boxed{7}", r"\boxed{7}\boxed{7}", "$\\boxed{7}$.\n\n$\\boxed{7.0}$"],
            ["\\boxed{7}\n\n\\boxed{8}", r"\boxed{7}, \boxed{7}", r"\boxed{8} \boxed{8}"],
        ),
        ("7, 7", [r"\boxed{7}, \boxed{7}"], [r"\boxed{7}\boxed{7}"]),
    ],
    "exclamation marks": [
        (
            "8",
            ["The answer is 8!", "So we get 8!", "The answer is **8**!", "The answer is $8$!", "The answer is 8! Great."],
            [r"\boxed{8!}", "8!", "#### 8!", "The answer is $8!$.", "The answer is 8!."],
        ),
        ("40320", ["8!", r"\boxed{8!}", "There are 8! ways.", "The answer is 8! = 40320."], ["The answer is 8!"]),
        ("5!", ["120", "The answer is 5!."], ["5"]),
    ],
    "names, and choices with their letter": [
        ("x=3, y=4", [r"\boxed{3, 4}", r"\boxed{y=4, x=3}"], [r"\boxed{4,3}"]),
        ("3,4", [r"\boxed{4,3}", "x=3, y=4"], ["x=4, y=3"]),
        ("x=1, x=2", [r"\boxed{2, 1}"], [r"\boxed{2, 3}"]),
        (
            r"\boxed{C}",
            [r"\boxed{\text{(C) } 5}", r"\boxed{\textbf{(C)}\ 5}", "The answer is (C) 5."],
            [r"\boxed{\text{(D) } 5}"],
        ),
        ("42", ["The answer is (c) 42", r"\boxed{\text{(C) } 42}"], ["The answer is (c) 41", r"\boxed{C}"]),
        (r"\boxed{\textbf{(C)}\ 5}", [r"\boxed{C}", "5"], [r"\boxed{D}", "6", r"\boxed{\text{(D) } 5}"]),
    ],
    "GSM8K": [
        (
            "48/2 = <<48/2=24>>24 clips in May.\n#### 72",
            ["72", "#### 72", r"\boxed{72}", "#### $72", "#### 72 clips"],
            ["24", "48/2", "#### 73"],
        ),
        ("He pays 1200 dollars.\n#### 1,200", ["1200", "$1,200"], ["1", "200"]),
    ],
}

UNPARSABLE = [
    "",
    "no idea",
    r"\boxed{}",
    r"\boxed{8",
    "\n",
    "\\",
    "}{",
    "Friday",
    "nan",
    "1/0",
    "9**9**9**9",
    "…",
    r"\boxed{\boxed{}",
    r"\boxed{5 is wrong}",
    "#### 5 is wrong",
    r"\boxed{5 less than}",
    r"\boxed{5\text{ or more}}",
    r"\boxed{5'}",
    "5'",
    r"\langle 1, 2\rangle",
    r"\boxed{5 score}",
]
UNREADABLE = ["Friday", "eight apples", "yes", "", r"\boxed{}", "}", "nan", "1/0", "9**9**9**9", r"3.14\ldots"]  # as references
